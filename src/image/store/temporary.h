#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::image {

/// A name that nothing else has, "PID-NUMBER": of this process, and a random one.
std::string unique_name();
/// Whether `name` looks like one.
bool is_unique_name(std::string_view name);

/// A new file, open for reading and writing, that is removed with this object unless it was moved away.
class TemporaryFile {
 public:
  /// `path` must not exist; 0600.
  static Result<TemporaryFile> create(std::string path);
  TemporaryFile(TemporaryFile&& other) noexcept
      : path_(std::exchange(other.path_, {})), fd_(std::move(other.fd_)) {}
  TemporaryFile& operator=(TemporaryFile&& other) noexcept;
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { remove(); }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The file is no longer at its path, or is somebody else's now.
  void forget() { path_.clear(); }

 private:
  TemporaryFile(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  void remove();

  std::string path_;
  Fd fd_;
};

/// A new folder (0700) that is removed with this object, with all that is in it. Removing a huge one takes
/// long: let it go on a thread that may block.
class TemporaryFolder {
 public:
  static Result<TemporaryFolder> create(std::string path);
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&& other) noexcept;
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { remove(); }

  [[nodiscard]] const std::string& path() const { return path_; }
  void forget() { path_.clear(); }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  void remove();

  std::string path_;
};

/// Removes a file, or a folder with all that is in it, without ever following a symbolic link or leaving the
/// file system that it is on (what is mounted below stays, and is an error). A path that does not exist is
/// success. Works in bounded memory, whatever the tree's depth. What cannot be removed does not keep the
/// rest: the error is that of the first one. Looks at `stop` (may be null) at each entry: cancelled.
Result<> remove_tree(const std::string& path, const std::atomic<bool>* stop = nullptr);

}  // namespace lambdo::image
