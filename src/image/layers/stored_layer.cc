#include "image/layers/stored_layer.h"

#include <algorithm>
#include <utility>

namespace lambdo::image {

namespace {

/// A size or a window of zstd that is beyond all limits may be a flipped bit, too.
bool may_be_damage(Code code) {
  return code == Code::layer_invalid || code == Code::digest_mismatch ||
         code == Code::media_type_unsupported || code == Code::path_escape || code == Code::image_too_large;
}

LayerLimits layer_limits(const ImageLimits& limits) {
  LayerLimits layer;
  layer.unpacked_bytes = limits.max_unpacked_bytes;
  layer.file_bytes = std::min(layer.file_bytes, limits.max_unpacked_bytes);
  return layer;
}

}  // namespace

Error error_of_layer(Store& store, const Descriptor& blob, Error error, const std::atomic<bool>& stop) {
  if (may_be_damage(error.code)) {
    auto verified = store.verify_blob(blob, &stop);
    if (!verified) return std::move(verified).error();
  }
  return std::move(error).with_context("layer " + blob.digest.text());
}

Result<Layer> read_stored_layer(Store& store, const Descriptor& blob, const Digest& diff_id, Spool& spool,
                                const ImageLimits& limits, MetadataBudget& budget,
                                const std::atomic<bool>& stop) {
  const Fd fd = TRY(store.open_blob(blob));
  auto layer =
      read_layer({.read = read_blob_from(fd.get()), .media_type = blob.media_type, .diff_id = diff_id}, spool,
                 layer_limits(limits), stop, &budget);
  if (!layer) return std::unexpected(error_of_layer(store, blob, std::move(layer).error(), stop));
  return layer;
}

}  // namespace lambdo::image
