#pragma once

#include <cstddef>
#include <cstdint>

namespace lambdo::image {

/// Of a manifest or an index (OCI distribution 1.1, "Pushing Manifests": registries take 4 MiB).
inline constexpr size_t kMaxManifestBytes = 4 << 20;

/// What one image may be: image_too_large beyond.
struct ImageLimits {
  size_t max_layers = 256;
  uint64_t max_compressed_bytes = uint64_t{64} << 30;  ///< all layers, as they come
  uint64_t max_unpacked_bytes = uint64_t{64} << 30;    ///< all layers, decompressed
  size_t max_entries = 1'000'000;                      ///< all layers, also what upper ones replace
  size_t max_metadata_bytes = 384 << 20;               ///< as MetadataBudget counts
};

}  // namespace lambdo::image
