#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/error.h"
#include "image/image_limits.h"
#include "image/local_image.h"
#include "image/store/store.h"
#include "registry/manifest.h"

namespace lambdo::image {

/// Where images are outside of registries and stores, as skopeo writes it. A path ends at its first ':'.
struct ImagePlace {
  enum class Kind {
    oci_layout,     ///< "oci:DIR[:TAG]", a folder (OCI image 1.1, image-layout.md)
    docker_archive  ///< "docker-archive:FILE[:REFERENCE]", what `docker save` writes
  };

  Kind kind = Kind::oci_layout;
  std::string path;
  std::string name;  ///< the tag or the reference; may be empty

  /// Whether `text` begins as a place does; all else may be a registry's image.
  static bool is_meant_by(std::string_view text);
  /// invalid_argument says which part is wrong and what to write.
  static Result<ImagePlace> parse(std::string_view text);
  /// As one writes it.
  [[nodiscard]] std::string text() const;
};

/// Brings an image into the store, without a name: the caller gives it one while it holds the image. Where
/// the place has several images a name chooses one (invalid_argument lists them), and `platform` among those.
///
/// not_found, platform_missing, manifest_invalid, media_type_unsupported, image_too_large, digest_mismatch,
/// size_mismatch; path_escape where a symbolic link of the place leads elsewhere. Blocking code; looks at
/// `stop` often (cancelled).
Result<LocalImage> import_image(Store& store, const ImagePlace& from, const Platform& platform,
                                const ImageLimits& limits, const std::atomic<bool>& stop);

/// Writes an image of the store. An OCI layout may exist: the image is added to it, and takes the tag from
/// the one that has it. An archive is written anew, and is under its name only when it is whole; its layers
/// are plain tar archives, image_too_large where these are larger together than `limits` lets them be.
/// Blocking code as above.
Result<> export_image(Store& store, const LocalImage& image, const ImagePlace& to, const ImageLimits& limits,
                      const std::atomic<bool>& stop);

}  // namespace lambdo::image
