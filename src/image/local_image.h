#pragma once

#include "base/error.h"
#include "image/image_config.h"
#include "image/image_limits.h"
#include "image/store/store.h"
#include "registry/manifest.h"

namespace lambdo::image {

using registry::Manifest;

/// An image that is in the store, whole, and stays there while this object lives.
struct LocalImage {
  Digest digest;  ///< of the manifest
  Manifest manifest;
  ImageConfig config;
  Lease lease;
};

/// The image of that manifest, from the store. not_found where a blob of it is missing. Blocking code.
Result<LocalImage> load_image(Store& store, const Digest& manifest);

/// image_too_large where the manifest's layers are too many, or too large as they come.
Result<> check_limits(const Manifest& manifest, const ImageLimits& limits);

}  // namespace lambdo::image
