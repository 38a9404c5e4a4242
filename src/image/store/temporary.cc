#include "image/store/temporary.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/files.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "image/stopped.h"

namespace lambdo::image {

namespace {

void warn(const Result<>& removed) {
  if (!removed) log::warning("A temporary file stays", {{"error", removed.error().message}});
}

/// Removes what is in one folder. What lies deeper than kMaxDepth is moved up beside it first, so that
/// neither the stack nor the number of open descriptors grows with the tree.
class TreeRemover {
 public:
  TreeRemover(int top, const std::atomic<bool>* stop) : top_(top), stop_(stop) {}

  Result<> empty(Fd folder, int depth);

 private:
  static constexpr int kMaxDepth = 32;

  Result<> remove_entry(int folder, const char* name, int depth);
  Result<> move_up(int folder, const char* name);

  int top_;
  const std::atomic<bool>* stop_;
  unsigned long long moved_ = 0;
};

bool is_dots(std::string_view name) {
  return name == "." || name == "..";
}

Result<> TreeRemover::empty(Fd folder, int depth) {
  const int fd = folder.get();
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), &::closedir);
  if (!stream) return fail_errno("fdopendir");
  static_cast<void>(folder.release());
  // Removing while reading may make the kernel skip entries, and moving up adds some: until a pass finds
  // none.
  for (;;) {
    bool found = false;
    Result<> first;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
      if (is_dots(entry->d_name)) continue;
      found = true;
      if (is_stopped(stop_)) return fail(Code::cancelled, "stopped");
      auto removed = remove_entry(fd, entry->d_name, depth);
      if (!removed && removed.error().code == Code::cancelled) return removed;
      if (!removed && first) first = std::move(removed);
      errno = 0;
    }
    if (errno != 0) return fail_errno("readdir");
    if (!found || !first) return first;
    ::rewinddir(stream.get());
  }
}

Result<> TreeRemover::remove_entry(int folder, const char* name, int depth) {
  if (::unlinkat(folder, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM && errno != EACCES) return fail_errno(std::string("unlink ") + name);
  if (::unlinkat(folder, name, AT_REMOVEDIR) == 0) return {};
  if (errno != ENOTEMPTY && errno != EEXIST) return fail_errno(std::string("rmdir ") + name);
  if (depth == kMaxDepth) return move_up(folder, name);
  auto inner = sys::open_subfolder(folder, name);
  if (!inner && inner.error().os_errno == EACCES) {
    // An image may have folders that not even their owner can read.
    if (::fchmodat(folder, name, S_IRWXU, 0) < 0) return fail_errno(std::string("chmod ") + name);
    inner = sys::open_subfolder(folder, name);
  }
  if (!inner) return std::unexpected(std::move(inner).error());
  // Without write permission nothing can be removed from it; of no matter to root.
  static_cast<void>(::fchmod(inner->get(), S_IRWXU));
  TRY(empty(std::move(*inner), depth + 1));
  if (::unlinkat(folder, name, AT_REMOVEDIR) < 0) return fail_errno(std::string("rmdir ") + name);
  return {};
}

Result<> TreeRemover::move_up(int folder, const char* name) {
  for (;;) {
    const std::string there = ".deep-" + std::to_string(moved_++);
    if (::renameat2(folder, name, top_, there.c_str(), RENAME_NOREPLACE) == 0) return {};
    if (errno != EEXIST) return fail_errno(std::string("rename ") + name);
  }
}

}  // namespace

std::string unique_name() {
  std::array<std::byte, sizeof(uint64_t)> bytes{};
  uint64_t number = static_cast<uint64_t>(sys::monotonic_ns());
  if (sys::random_bytes(bytes)) {
    for (const std::byte byte : bytes) number = number << 8 | std::to_integer<uint64_t>(byte);
  }
  return std::to_string(::getpid()) + "-" + std::to_string(number);
}

bool is_unique_name(std::string_view name) {
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  const size_t dash = name.find('-');
  return dash != std::string_view::npos && is_number(name.substr(0, dash)) &&
         is_number(name.substr(dash + 1));
}

Result<> remove_tree(const std::string& path, const std::atomic<bool>* stop) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail_errno("unlink " + path);
  auto top = sys::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!top) return std::unexpected(std::move(top).error());
  const Fd held = TRY(sys::dup(top->get()));
  auto emptied = TreeRemover(held.get(), stop).empty(std::move(*top), 0);
  if (!emptied) return std::unexpected(std::move(emptied).error().with_context("remove " + path));
  if (::rmdir(path.c_str()) < 0) return fail_errno("rmdir " + path);
  return {};
}

Result<TemporaryFile> TemporaryFile::create(std::string path) {
  Fd fd = TRY(sys::open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return TemporaryFile(std::move(path), std::move(fd));
}

TemporaryFile& TemporaryFile::operator=(TemporaryFile&& other) noexcept {
  if (this != &other) {
    remove();
    path_ = std::exchange(other.path_, {});
    fd_ = std::move(other.fd_);
  }
  return *this;
}

void TemporaryFile::remove() {
  if (path_.empty()) return;
  auto removed = sys::unlink(path_);
  if (!removed) warn(std::unexpected(std::move(removed).error()));
  path_.clear();
}

Result<TemporaryFolder> TemporaryFolder::create(std::string path) {
  TRY(sys::mkdir(path, S_IRWXU));
  return TemporaryFolder(std::move(path));
}

TemporaryFolder& TemporaryFolder::operator=(TemporaryFolder&& other) noexcept {
  if (this != &other) {
    remove();
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

void TemporaryFolder::remove() {
  if (!path_.empty()) warn(remove_tree(std::exchange(path_, {})));
}

}  // namespace lambdo::image
