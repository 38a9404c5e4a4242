#pragma once

#include <atomic>
#include <string>

#include "base/error.h"
#include "image/image_limits.h"
#include "image/local_image.h"
#include "image/store/store.h"

/// Images in one tar archive, as `docker save` writes it: manifest.json, which names a configuration and
/// layers, which are tar archives, plain or compressed, or symbolic links to such in the archive (Docker
/// image specification 1.2, "Combined Image JSON + Filesystem Changeset Format"). The archive itself may be
/// compressed. As `import_image` and `export_image` in transfer.h.
namespace lambdo::image {

/// `reference` is one of the archive's RepoTags, in any spelling.
Result<LocalImage> import_docker_archive(Store& store, const std::string& file, const std::string& reference,
                                         const Platform& platform, const ImageLimits& limits,
                                         const std::atomic<bool>& stop);

Result<> export_docker_archive(Store& store, const LocalImage& image, const std::string& file,
                               const std::string& reference, const ImageLimits& limits,
                               const std::atomic<bool>& stop);

}  // namespace lambdo::image
