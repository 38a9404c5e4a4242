#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace lambdo::image {

/// A tar archive in a file, plain or compressed by gzip or zstd, read from its start to its end in bounded
/// memory. What nobody asks for is skipped over where the file is plain. Blocking code.
class ArchiveFile {
 public:
  /// `fd` is a regular file, read from its start, which outlives this; `name` is for messages. layer_invalid
  /// where it is no archive. image_too_large is read where more than `max_bytes`, decompressed, would be.
  static Result<ArchiveFile> open(int fd, std::string name, uint64_t max_bytes);

  /// Goes to the next entry; false at the end. layer_invalid where the archive is damaged.
  Result<bool> next();
  /// The entry's name without "./" and the like; empty where it has none that could be named elsewhere.
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Of symbolic and hard links: what they name, from the archive's root. Empty for others, and where it is
  /// outside of the archive.
  [[nodiscard]] const std::string& target() const { return target_; }
  [[nodiscard]] bool is_link() const { return is_link_; }
  [[nodiscard]] bool is_file() const { return is_file_; }
  /// The next bytes of the entry's content; 0 at its end.
  Result<size_t> read(std::span<std::byte> to);
  /// The whole content; image_too_large over `max_bytes`.
  Result<std::string> read_all(size_t max_bytes);

 private:
  struct Free {
    void operator()(archive* handle) const { ::archive_read_free(handle); }
  };

  ArchiveFile(std::string name, uint64_t max_bytes)
      : name_(std::move(name)), max_bytes_(max_bytes), archive_(::archive_read_new()) {}
  [[nodiscard]] std::unexpected<Error> failed() const;
  [[nodiscard]] Result<> check_size() const;
  void note(archive_entry* entry);

  std::string name_;
  uint64_t max_bytes_;
  std::unique_ptr<archive, Free> archive_;
  std::string path_;
  std::string target_;
  bool is_link_ = false;
  bool is_file_ = false;
};

}  // namespace lambdo::image
