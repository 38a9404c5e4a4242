#include "image/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/syscalls.h"
#include "image/stopped.h"

namespace lambdo::image {

namespace {

/// Whether `path` still leads to the file that is locked: its last owner may have removed it meanwhile.
Result<bool> is_at(const std::string& path, int fd) {
  const struct stat locked = TRY(sys::fstat(fd));
  const auto there = TRY(sys::lstat(path));
  return there && there->st_dev == locked.st_dev && there->st_ino == locked.st_ino;
}

}  // namespace

Result<std::optional<FileLock>> FileLock::try_lock(const std::string& path, Kind kind) {
  for (;;) {
    Fd fd = TRY(sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    if (!TRY(sys::try_flock(fd.get(), kind == Kind::shared ? LOCK_SH : LOCK_EX))) return std::nullopt;
    if (TRY(is_at(path, fd.get()))) return FileLock(path, std::move(fd));
  }
}

Result<FileLock> FileLock::lock(const std::string& path, Kind kind, int limit_ms,
                                const std::atomic<bool>* stop) {
  const long long deadline_ns = sys::monotonic_ns() + limit_ms * 1'000'000LL;
  for (;;) {
    auto lock = TRY(try_lock(path, kind));
    if (lock) return std::move(*lock);
    if (is_stopped(stop)) return fail(Code::cancelled, "stopped");
    if (sys::monotonic_ns() >= deadline_ns) {
      return fail(Code::store_busy, path + " is still locked after " + std::to_string(limit_ms) + " ms");
    }
    // flock(2) itself has no time limit, and a signal to break it would be the whole process's.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (this != &other) {
    release();
    path_ = std::move(other.path_);
    fd_ = std::move(other.fd_);
    remove_ = std::exchange(other.remove_, false);
  }
  return *this;
}

void FileLock::release() {
  if (fd_.valid() && remove_) {
    // Of several that share it the last one finds itself alone. Removed while it is still held: whoever waits
    // for it sees that its file is gone and makes a new one.
    const auto alone = sys::try_flock(fd_.get(), LOCK_EX);
    if (alone && *alone) static_cast<void>(sys::unlink(path_));
  }
  fd_.reset();
}

}  // namespace lambdo::image
