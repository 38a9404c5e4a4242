#include "image/store/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <chrono>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/syscalls.h"
#include "image/stopped.h"

namespace lambdo::image {

Result<bool> is_at(const std::string& path, int fd) {
  const struct stat open = TRY(sys::fstat(fd));
  const auto there = TRY(sys::lstat(path));
  return there && there->st_dev == open.st_dev && there->st_ino == open.st_ino;
}

Result<Lock> try_lock_at(const std::string& path, int fd, FileLock::Kind kind) {
  if (!TRY(sys::try_flock(fd, kind == FileLock::Kind::shared ? LOCK_SH : LOCK_EX))) return Lock::busy;
  return TRY(is_at(path, fd)) ? Lock::held : Lock::moved;
}

Result<> poll_lock(const std::string& what, int limit_ms, const std::atomic<bool>* stop,
                   const std::function<Result<bool>()>& try_lock) {
  const long long deadline_ns = sys::monotonic_ns() + limit_ms * 1'000'000LL;
  while (!TRY(try_lock())) {
    if (is_stopped(stop)) return fail(Code::cancelled, "stopped");
    if (sys::monotonic_ns() >= deadline_ns) {
      return fail(Code::store_busy, what + " is still locked after " + std::to_string(limit_ms) + " ms");
    }
    // flock(2) itself has no time limit, and a signal to break it would be the whole process's.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return {};
}

Result<std::optional<FileLock>> FileLock::try_lock(const std::string& path, Kind kind) {
  for (;;) {
    Fd fd = TRY(sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    const Lock lock = TRY(try_lock_at(path, fd.get(), kind));
    if (lock == Lock::busy) return std::nullopt;
    if (lock == Lock::held) return FileLock(path, std::move(fd));
  }
}

Result<FileLock> FileLock::lock(const std::string& path, Kind kind, int limit_ms,
                                const std::atomic<bool>* stop) {
  std::optional<FileLock> lock;
  TRY(poll_lock(path, limit_ms, stop, [&]() -> Result<bool> {
    lock = TRY(try_lock(path, kind));
    return lock.has_value();
  }));
  return *std::move(lock);
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
