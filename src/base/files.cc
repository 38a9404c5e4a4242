#include "base/files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/retry.h"
#include "base/syscalls.h"

namespace lambdo::sys {

Result<std::optional<struct stat>> lstat(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) return status;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  return fail_errno("lstat " + path);
}

Result<struct stat> fstat(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return fail_errno("fstat");
  return status;
}

Result<> rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) < 0) return fail_errno("rename " + from + " to " + to);
  return {};
}

Result<bool> rename_if_free(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno == EEXIST) return false;
  return fail_errno("rename " + from + " to " + to);
}

Result<bool> unlink(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_errno("unlink " + path);
}

Result<> fsync(int fd, const std::string& what) {
  if (retry([&] { return ::fsync(fd); }) < 0) return fail_errno("fsync " + what);
  return {};
}

Result<> sync_folder(const std::string& path) {
  const Fd folder = TRY(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return fsync(folder.get(), path);
}

Result<> sync_file_system(const std::string& path) {
  const Fd fd = TRY(open(path, O_RDONLY | O_NOFOLLOW));
  if (::syncfs(fd.get()) < 0) return fail_errno("syncfs " + path);
  return {};
}

void start_writeback(int fd, uint64_t offset, uint64_t len_bytes) {
  // Where a file system cannot do it, fsync has more to do later.
  static_cast<void>(::sync_file_range(fd, static_cast<off64_t>(offset), static_cast<off64_t>(len_bytes),
                                      SYNC_FILE_RANGE_WRITE));
}

Result<size_t> read_some(int fd, std::span<std::byte> to, const std::string& what) {
  const ssize_t count = retry([&] { return ::read(fd, to.data(), to.size()); });
  if (count < 0) return fail_errno("read " + what);
  return static_cast<size_t>(count);
}

Result<bool> try_flock(int fd, int operation) {
  if (retry([&] { return ::flock(fd, operation | LOCK_NB); }) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return fail_errno("flock");
}

static Result<Fd> open_resolved(int folder, const char* path, int flags, mode_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | resolve;
  for (;;) {
    const auto fd = ::syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    // EAGAIN: something was renamed while the path was walked.
    if (errno != EINTR && errno != EAGAIN) return fail_errno(std::string("openat2 ") + path);
  }
}

Result<Fd> open_subfolder(int parent, const char* name) {
  return open_resolved(parent, name, O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_XDEV);
}

Result<Fd> open_beneath(int folder, const std::string& path, int flags, mode_t mode) {
  return open_resolved(folder, path.c_str(), flags, mode, 0);
}

Result<> make_subfolder(int parent, const char* name, mode_t mode) {
  if (::mkdirat(parent, name, mode) < 0 && errno != EEXIST) {
    return fail_errno(std::string("mkdir ") + name);
  }
  return {};
}

}  // namespace lambdo::sys
