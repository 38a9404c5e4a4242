#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "registry/digest.h"
#include "registry/manifest.h"

namespace lambdo::image {

/// What happens to one layer at the moment. A layer goes through these in order, and may skip some.
enum class LayerPhase {
  waiting,    ///< for its turn, or for somebody else who fetches it already
  fetching,   ///< `done` of `total` bytes, compressed, have come
  fetched,    ///< it is in the store; at once where it was before
  unpacking,  ///< it is being decompressed
  unpacked,
};

/// Told how a pull goes, on the reactor's thread. Must not block.
class Progress {
 public:
  virtual ~Progress() = default;
  /// The image is known; once, before any of the others.
  virtual void found(const registry::Digest& manifest, std::span<const registry::Descriptor> layers) = 0;
  /// At each change of phase, and at most ten times a second while bytes come. `index` counts `layers`.
  virtual void layer(size_t index, LayerPhase phase, uint64_t done_bytes, uint64_t total_bytes) = 0;
  /// All layers are read; what they make together is being written.
  virtual void writing() {}
};

}  // namespace lambdo::image
