#include "image/writers/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/files.h"
#include "base/syscalls.h"
#include "image/store/file_lock.h"

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

/// Nothing is removed where another process has done so, or put something else there.
Result<> remove_leftover(const std::string& part, const std::string& path) {
  const auto there = TRY(sys::lstat(part));
  if (there && S_ISDIR(there->st_mode)) {
    return fail(Code::invalid_argument, part + " is a folder, in the way of " + path + "; remove it");
  }
  // Locked while it is removed. What cannot be opened is no process's that would be writing it.
  const auto fd = sys::open(part, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!fd && fd.error().code == Code::not_found) return {};
  if (fd) {
    const Lock lock = TRY(try_lock_at(part, fd->get(), FileLock::Kind::exclusive));
    if (lock == Lock::busy) return fail(Code::store_busy, "another process is writing " + path);
    // Its writer put it into its place meanwhile, and what is there now may be the next one's.
    if (lock == Lock::moved) return {};
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
    // Another process may take it for a leftover before it is locked.
    const Lock lock = TRY(try_lock_at(part, file->fd(), FileLock::Kind::exclusive));
    if (lock == Lock::held) return OutputFile(std::move(path), *std::move(file));
    file->forget();
  }
  return fail(Code::store_busy, "other processes are writing " + path);
}

Result<> OutputFile::commit(mode_t mode) {
  if (::fchmod(file_.fd(), mode) < 0) return fail_errno("chmod " + file_.path());
  TRY(sys::fsync(file_.fd(), file_.path()));
  if (!TRY(is_at(file_.path(), file_.fd()))) {
    const std::string part = file_.path();
    file_.forget();
    return fail(Code::store_busy, part + " was removed or replaced while it was being written");
  }
  TRY(sys::rename(file_.path(), path_));
  file_.forget();
  const auto folder = sys::open(folder_of(path_), O_RDONLY | O_DIRECTORY);
  // One may write to a folder that one may not read.
  if (!folder && folder.error().code == Code::permission_denied) return {};
  if (!folder) return std::unexpected(folder.error());
  return sys::fsync(folder->get(), folder_of(path_));
}

}  // namespace lambdo::image
