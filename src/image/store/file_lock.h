#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::image {

/// A lock between processes, and between parts of one: flock(2) on a file of its own, which ends with its
/// owner, however that ends. Blocking code.
class FileLock {
 public:
  enum class Kind { shared, exclusive };

  /// nullopt where somebody else holds it in a way that excludes this one. The file is made where it is
  /// missing.
  static Result<std::optional<FileLock>> try_lock(const std::string& path, Kind kind);
  /// Waits at most `limit_ms`: store_busy after that. Looks at `stop` (may be null) meanwhile: cancelled.
  static Result<FileLock> lock(const std::string& path, Kind kind, int limit_ms,
                               const std::atomic<bool>* stop = nullptr);

  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  /// Lets go. The file is removed first, where `remove_on_release` was asked for and nobody else holds it.
  ~FileLock() { release(); }

  void remove_on_release() { remove_ = true; }

 private:
  FileLock(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  void release();

  std::string path_;
  Fd fd_;
  bool remove_ = false;
};

/// Whether `path` leads to what `fd` is open on: somebody else may have moved or removed that meanwhile.
Result<bool> is_at(const std::string& path, int fd);

/// What trying to lock something came to: it is locked and still there, somebody else holds it, or it was
/// moved or removed before it was locked.
enum class Lock { held, busy, moved };
/// For what was made or opened at `path`. Never waits.
Result<Lock> try_lock_at(const std::string& path, int fd, FileLock::Kind kind);

/// Calls `try_lock` until it gives true, as FileLock::lock() does; `what` is told where that takes too long.
Result<> poll_lock(const std::string& what, int limit_ms, const std::atomic<bool>* stop,
                   const std::function<Result<bool>()>& try_lock);

}  // namespace lambdo::image
