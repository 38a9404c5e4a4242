#include "image/layers/file_metadata.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string>

#include "base/syscalls.h"
#include "image/layers/string_arena.h"

namespace lambdo::image {

namespace {

constexpr uint32_t kSetIdBits = S_ISUID | S_ISGID;
constexpr uint32_t kPermissions = 07777;

/// umask(2) tells only by changing it, for all threads.
uint32_t read_umask() {
  constexpr std::string_view kField = "\nUmask:\t";
  const auto status = sys::read_file("/proc/self/status");
  uint32_t mask = 0777;  // unknown: every mode is set explicitly
  if (!status) return mask;
  const size_t at = status->find(kField);
  if (at == std::string::npos) return mask;
  const char* begin = status->data() + at + kField.size();
  std::from_chars(begin, status->data() + status->size(), mask, 8);
  return mask;
}

std::array<timespec, 2> times(const FileMetadata& metadata) {
  const timespec mtime = {.tv_sec = metadata.mtime_s, .tv_nsec = metadata.mtime_ns};
  return {mtime, mtime};
}

bool is_not_allowed(int error) {
  return error == EPERM || error == EACCES;
}

}  // namespace

MetadataSetter::MetadataSetter() : uid_(::geteuid()), gid_(::getegid()), umask_(read_umask()) {}

bool MetadataSetter::owner_is_right(const FileMetadata& metadata) const {
  return metadata.uid == uid_ && metadata.gid == gid_;
}

Result<bool> MetadataSetter::set_owner(int fd, const char* name, const FileMetadata& metadata) {
  if (owner_is_right(metadata)) return true;
  const int flags = AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (::fchownat(fd, name, metadata.uid, metadata.gid, flags) == 0) return true;
  // EINVAL: the process' user namespace has no such user.
  if (!is_not_allowed(errno) && errno != EINVAL) return fail_errno("chown");
  ++skipped_owners_;
  return false;
}

Result<> MetadataSetter::set_xattrs(int fd, std::span<const Xattr> xattrs) {
  for (const Xattr& xattr : xattrs) {
    if (::fsetxattr(fd, StringArena::c_str(xattr.name), xattr.value.data(), xattr.value.size(), 0) == 0)
      continue;
    if (errno == EINVAL || errno == E2BIG || errno == ERANGE) {
      return fail(Code::layer_invalid, "the attribute " + std::string(xattr.name) + " is malformed");
    }
    if (!is_not_allowed(errno) && errno != ENOTSUP) return fail_errno("setxattr");
    ++skipped_xattrs_;
  }
  return {};
}

Result<> MetadataSetter::set(int fd, const FileMetadata& metadata, std::span<const Xattr> xattrs,
                             uint32_t created_mode) {
  uint32_t mode = metadata.mode & kPermissions;
  const bool owner_set = TRY(set_owner(fd, "", metadata));
  // A set-uid file must not become one of whoever runs this process.
  if (!owner_set) mode &= ~kSetIdBits;
  // A new owner cost the file its set-id bits; the umask may have cost others.
  if (mode != (created_mode & ~umask_) && ::fchmod(fd, mode) != 0) return fail_errno("fchmod");
  TRY(set_xattrs(fd, xattrs));
  if (::futimens(fd, times(metadata).data()) != 0) return fail_errno("futimens");
  return {};
}

Result<> MetadataSetter::set_at(int folder, const char* name, const FileMetadata& metadata, bool is_symlink) {
  TRY(set_owner(folder, name, metadata));
  if (!is_symlink && ::fchmodat(folder, name, metadata.mode & kPermissions, 0) != 0)
    return fail_errno("fchmodat");
  if (::utimensat(folder, name, times(metadata).data(), AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno("utimensat");
  }
  return {};
}

}  // namespace lambdo::image
