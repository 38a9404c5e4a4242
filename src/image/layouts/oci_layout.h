#pragma once

#include <atomic>
#include <string>

#include "base/error.h"
#include "image/image_limits.h"
#include "image/local_image.h"
#include "image/store/store.h"

/// Images in a folder (OCI image 1.1, image-layout.md). The folder is foreign: what is in it is checked by
/// its digests, and no symbolic link in it is followed. As `import_image` and `export_image` in transfer.h.
namespace lambdo::image {

Result<LocalImage> import_oci_layout(Store& store, const std::string& folder, const std::string& tag,
                                     const Platform& platform, const ImageLimits& limits,
                                     const std::atomic<bool>& stop);

Result<> export_oci_layout(Store& store, const LocalImage& image, const std::string& folder,
                           const std::string& tag, const std::atomic<bool>& stop);

}  // namespace lambdo::image
