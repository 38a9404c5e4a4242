#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace lambdo::image {

struct Xattr {
  std::string_view name;  ///< of a StringArena
  std::string_view value;

  bool operator==(const Xattr&) const = default;
};

/// What a file or folder has besides its content.
struct FileMetadata {
  uint32_t mode = 0;  ///< permissions with the set-id and sticky bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
};

/// Gives files of the host the owners, modes, attributes and times of an image's. What the process may not do
/// is left out and counted. May be used by several threads.
class MetadataSetter {
 public:
  MetadataSetter();

  /// The mode to create a regular file with. It may lack bits of `mode`, never have more.
  [[nodiscard]] static uint32_t creation_mode(uint32_t mode) { return mode & 0777; }
  /// To a regular file or folder, after its last write: owner, then mode, then attributes, then time.
  /// `created_mode` is what it was created with, as creation_mode() gives it; any that is no mode: set it
  /// always.
  Result<> set(int fd, const FileMetadata& metadata, std::span<const Xattr> xattrs, uint32_t created_mode);
  /// To a symlink, device or fifo, relative to its folder.
  Result<> set_at(int folder, const char* name, const FileMetadata& metadata, bool is_symlink);

  [[nodiscard]] size_t skipped_owners() const { return skipped_owners_; }
  [[nodiscard]] size_t skipped_xattrs() const { return skipped_xattrs_; }

 private:
  bool owner_is_right(const FileMetadata& metadata) const;
  /// Whether the owner is now the right one.
  Result<bool> set_owner(int fd, const char* name, const FileMetadata& metadata);
  Result<> set_xattrs(int fd, std::span<const Xattr> xattrs);

  uint32_t uid_;
  uint32_t gid_;
  uint32_t umask_;
  std::atomic<size_t> skipped_owners_ = 0;
  std::atomic<size_t> skipped_xattrs_ = 0;
};

}  // namespace lambdo::image
