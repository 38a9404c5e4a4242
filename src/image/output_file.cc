#include "image/output_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/files.h"
#include "base/syscalls.h"

namespace lambdo::image {

namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// Renaming would put the file into the place of a device, too.
Result<> check_place(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return fail(Code::invalid_argument, path + " is there and is no file; name one");
  }
  if (::stat(folder_of(path).c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return fail(Code::invalid_argument, path + ": there is no folder " + folder_of(path) + "; make it first");
  }
  return {};
}

/// Whether what was made or opened is still at its path: another process may take it for a leftover before
/// it is locked.
Result<bool> holds(int fd, const std::string& path) {
  if (!TRY(sys::try_flock(fd, LOCK_EX))) return false;
  const struct stat own = TRY(sys::fstat(fd));
  const auto there = TRY(sys::lstat(path));
  return there && there->st_dev == own.st_dev && there->st_ino == own.st_ino;
}

Result<> remove_leftover(const std::string& part, const std::string& path) {
  const auto there = TRY(sys::lstat(part));
  if (there && S_ISDIR(there->st_mode)) {
    return fail(Code::invalid_argument, part + " is a folder, in the way of " + path + "; remove it");
  }
  // Locked while it is removed. What cannot be opened is no process's that would be writing it.
  const auto fd = sys::open(part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd && !TRY(sys::try_flock(fd->get(), LOCK_EX))) {
    return fail(Code::store_busy, "another process is writing " + path);
  }
  auto removed = sys::unlink(part);
  if (!removed) return std::unexpected(std::move(removed).error());
  return {};
}

}  // namespace

Result<OutputFile> OutputFile::create(std::string path) {
  TRY(check_place(path));
  const std::string part = path + ".lambdo-part";
  constexpr int kTries = 10;
  for (int i = 0; i < kTries; ++i) {
    auto file = TemporaryFile::create(part);
    if (!file && file.error().os_errno != EEXIST) return std::unexpected(std::move(file).error());
    if (!file) {
      TRY(remove_leftover(part, path));
      continue;
    }
    if (TRY(holds(file->fd(), part))) return OutputFile(std::move(path), *std::move(file));
    file->forget();
  }
  return fail(Code::store_busy, "other processes are writing " + path);
}

Result<> OutputFile::commit(mode_t mode) {
  if (::fchmod(file_.fd(), mode) < 0) return fail_errno("chmod " + file_.path());
  TRY(sys::fsync(file_.fd(), file_.path()));
  TRY(sys::rename(file_.path(), path_));
  file_.forget();
  const auto folder = sys::open(folder_of(path_), O_RDONLY | O_DIRECTORY);
  // One may write to a folder that one may not read.
  if (!folder && folder.error().code == Code::permission_denied) return {};
  if (!folder) return std::unexpected(folder.error());
  return sys::fsync(folder->get(), folder_of(path_));
}

}  // namespace lambdo::image
