#pragma once

#include <atomic>

#include "base/error.h"
#include "image/image_limits.h"
#include "image/layers/layer.h"
#include "image/layers/metadata_budget.h"
#include "image/layers/spool.h"
#include "image/store/store.h"

namespace lambdo::image {

/// Reads a layer from its blob in the store. Where the blob turns out to be damaged: store_invalid, and it is
/// moved away, so that the next pull fetches it again. Else as read_layer(), and errors name the layer.
/// `budget` is that of the image.
Result<Layer> read_stored_layer(Store& store, const Descriptor& blob, const Digest& diff_id, Spool& spool,
                                const ImageLimits& limits, MetadataBudget& budget,
                                const std::atomic<bool>& stop);

/// For whoever reads a layer in another way: `error` is what came of it. What is wrong with a layer may be
/// wrong with its blob; then that is checked (Store::verify_blob), and its damage is the error. Else `error`.
Error error_of_layer(Store& store, const Descriptor& blob, Error error, const std::atomic<bool>& stop);

}  // namespace lambdo::image
