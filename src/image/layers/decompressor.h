#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.h"

namespace lambdo::image {

/// Gives the next bytes of a blob; 0 at its end. May block, for example until more has been downloaded.
using ReadBlob = std::move_only_function<Result<size_t>(std::span<std::byte> to)>;
/// From the position of `fd`, which outlives it.
ReadBlob read_blob_from(int fd);

enum class LayerCompression : uint8_t { none, gzip, zstd };

/// media_type_unsupported for what is not a layer's media type.
Result<LayerCompression> layer_compression(std::string_view media_type);
/// By the first bytes of a blob, at least 4 where it has so many. What is neither gzip nor zstd is `none`.
LayerCompression detect_layer_compression(std::span<const std::byte> start);

/// The content of a compressed stream, in pieces.
class Decompressor {
 public:
  virtual ~Decompressor() = default;
  /// Fills `to` from its start, which is not empty; 0 at the end. layer_invalid where the data is damaged or
  /// ends early, and what `read` fails with.
  virtual Result<size_t> read(std::span<std::byte> to) = 0;

  /// Streams of several gzip members or zstd frames are one content (RFC 1952, 2.2; RFC 8878, 3.1); zeros may
  /// follow it. media_type_unsupported where the data does not begin as `compression` does.
  static Result<std::unique_ptr<Decompressor>> create(LayerCompression compression, ReadBlob read);
};

}  // namespace lambdo::image
