#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "image/writers/archive_sink.h"

namespace lambdo::image {

/// Entries of a newc cpio archive.
class NewcWriter {
 public:
  static constexpr uint64_t kMaxFileBytes = 0xffffffff;
  static constexpr size_t kMaxNameBytes = 4095;  // init/initramfs.c: PATH_MAX with the NUL

  struct Header {
    std::string_view path;
    uint32_t inode = 0;
    uint32_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint32_t links = 1;
    uint32_t mtime = 0;
    uint32_t size_bytes = 0;
    uint32_t major = 0;
    uint32_t minor = 0;
  };

  explicit NewcWriter(ArchiveSink& sink) : sink_(&sink) {}

  Result<> put_header(const Header& header);
  /// `size_bytes` of the last header in all.
  Result<> put_content(std::span<const std::byte> data);
  Result<> end_content();
  /// The trailer.
  Result<> finish();

  [[nodiscard]] size_t entries() const { return entries_; }
  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }

 private:
  Result<> put(std::span<const std::byte> data);
  Result<> align();

  ArchiveSink* sink_;
  uint64_t size_bytes_ = 0;
  uint64_t content_left_ = 0;
  size_t entries_ = 0;
};

}  // namespace lambdo::image
