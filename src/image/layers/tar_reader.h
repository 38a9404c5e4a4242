#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "image/layers/layer_stream.h"

namespace lambdo::image {

/// A tar archive's headers and contents, as libarchive reads them: ustar, pax, GNU and old ones. Messages are
/// without the entry's name.
class TarReader {
 public:
  /// `stream` outlives the reader.
  explicit TarReader(LayerStream& stream);
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  Result<> open();
  /// The next entry's header, valid until the next call; null at the archive's end. image_too_large: one of
  /// over kMaxHeaderBytes.
  Result<archive_entry*> next();

  struct Block {
    std::span<const std::byte> data;
    uint64_t offset = 0;
  };
  /// The next piece of the entry's content, valid until the next call; nullopt at its end.
  Result<std::optional<Block>> read();

  /// With all that belongs to it, such as pax records and the map of a sparse file, whose pieces take
  /// libarchive twenty times the memory that they have in the archive.
  static constexpr size_t kMaxHeaderBytes = 1 << 20;

 private:
  struct Free {
    void operator()(archive* handle) const { ::archive_read_free(handle); }
  };

  static la_ssize_t give(archive* handle, void* self, const void** data);
  Result<std::span<const std::byte>> next_bytes();
  Error failed() const;

  LayerStream* stream_;
  std::optional<Error> stream_error_;
  bool in_header_ = false;
  bool in_content_ = false;
  size_t header_bytes_ = 0;  ///< that have come since the last content's end
  std::unique_ptr<archive, Free> archive_;
};

}  // namespace lambdo::image
