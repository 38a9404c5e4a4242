#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "registry/digest.h"

/// What an image consists of (OCI image 1.1: descriptor.md, manifest.md, image-index.md; Docker's image
/// manifest version 2, schema 2, says the same under other media types).
namespace lambdo::registry {

namespace media_type {
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kOciLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip";
inline constexpr std::string_view kOciLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
inline constexpr std::string_view kDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
inline constexpr std::string_view kDockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd";
}  // namespace media_type

/// As an index names the machine that a variant of an image is for.
struct Platform {
  std::string os = "linux";
  std::string architecture = "amd64";
  std::string variant;  ///< "v7" of arm; mostly empty

  bool operator==(const Platform&) const = default;
  /// "linux/amd64", with the variant where there is one.
  [[nodiscard]] std::string text() const;
};

/// Content by its digest, with what is known of it beforehand.
struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size_bytes = 0;
  std::optional<Platform> platform;  ///< of an index's entries
};

struct Manifest {
  std::string media_type;
  Descriptor config;
  std::vector<Descriptor> layers;  ///< the lowest first
};

struct Index {
  std::string media_type;
  std::vector<Descriptor> entries;  ///< manifests and further indexes
};

/// Reads a manifest or an index. `declared` is the media type that came with it (Content-Type, or the
/// descriptor's); where the document names one itself both must agree.
///
/// manifest_invalid says which field is wrong; media_type_unsupported for schema 1, foreign
/// (non-distributable) layers and whatever else is not in `media_type`. At most 4 MiB, 512 layers and 1,024
/// entries: image_too_large beyond. `secrets` are taken out of what messages repeat of the texts in it.
Result<std::variant<Manifest, Index>> parse_manifest(std::string_view json, std::string_view declared,
                                                     std::span<const std::string> secrets = {});

}  // namespace lambdo::registry
