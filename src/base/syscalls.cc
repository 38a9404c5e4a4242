#include "base/syscalls.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <memory>

#include "base/retry.h"

namespace lambdo::sys {

static Result<Fd> owned(int fd, std::string_view what) {
  if (fd < 0) return fail_errno(what);
  return Fd(fd);
}

Result<Fd> open(const std::string& path, int flags, mode_t mode) {
  return owned(retry([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }), "open " + path);
}

Result<std::pair<Fd, Fd>> pipe(int flags) {
  int fds[2];
  if (::pipe2(fds, flags | O_CLOEXEC) < 0) return fail_errno("pipe2");
  return std::pair(Fd(fds[0]), Fd(fds[1]));
}

Result<std::pair<Fd, Fd>> socketpair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) return fail_errno("socketpair");
  return std::pair(Fd(fds[0]), Fd(fds[1]));
}

static msghdr message_of(std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());  // neither call writes to it
  message.msg_iovlen = parts.size();
  return message;
}

static Result<std::optional<size_t>> count_now(ssize_t count, std::string_view what) {
  if (count >= 0) return static_cast<size_t>(count);
  if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
  return fail_errno(what);
}

Result<std::optional<size_t>> send_now(int socket, std::span<const iovec> parts) {
  const msghdr message = message_of(parts);
  return count_now(retry([&] { return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL); }),
                   "sendmsg");
}

Result<std::optional<size_t>> receive_now(int socket, std::span<const iovec> parts) {
  msghdr message = message_of(parts);
  return count_now(retry([&] { return ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC); }),
                   "recvmsg");
}

Result<std::optional<size_t>> read_now(int fd, std::span<const iovec> parts) {
  return count_now(retry([&] { return ::readv(fd, parts.data(), static_cast<int>(parts.size())); }), "readv");
}

Result<Fd> eventfd(unsigned initial, int flags) {
  return owned(::eventfd(initial, flags | EFD_CLOEXEC), "eventfd");
}

Result<Fd> memfd(const char* name, unsigned flags) {
  return owned(::memfd_create(name, flags | MFD_CLOEXEC), "memfd_create");
}

Result<Fd> pidfd_open(pid_t pid) {
  return owned(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), "pidfd_open " + std::to_string(pid));
}

Result<> pidfd_signal(int pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0 && errno != ESRCH) {
    return fail_errno("pidfd_send_signal");
  }
  return {};
}

Result<Fd> dup(int fd) {
  return owned(::fcntl(fd, F_DUPFD_CLOEXEC, 0), "dup");
}

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  Fd fd = TRY(open(path, O_RDONLY));
  std::string content;
  char buffer[16384];
  while (true) {
    const ssize_t count = retry([&] { return ::read(fd.get(), buffer, sizeof buffer); });
    if (count < 0) return fail_errno("read " + path);
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
    if (content.size() > max_bytes) {
      return fail(Code::payload_too_large, path + " is larger than " + std::to_string(max_bytes) + " bytes");
    }
  }
}

Result<> write_file(const std::string& path, std::string_view content) {
  Fd fd = TRY(open(path, O_WRONLY));
  const ssize_t count = retry([&] { return ::write(fd.get(), content.data(), content.size()); });
  if (count < 0) return fail_errno("write " + path);
  if (static_cast<size_t>(count) != content.size()) return fail(Code::io, "short write to " + path);
  return {};
}

Result<> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = retry([&] { return ::write(fd, content.data(), content.size()); });
    if (count < 0) return fail_errno("write");
    content.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

Result<> mkdir(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) < 0) return fail_errno("mkdir " + path);
  return {};
}

Result<> mkdirs(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (::mkdir(prefix.c_str(), mode) < 0) {
      struct stat status{};
      if (errno != EEXIST) return fail_errno("mkdir " + prefix);
      if (::stat(prefix.c_str(), &status) < 0) return fail_errno("stat " + prefix);
      if (!S_ISDIR(status.st_mode)) return fail_errno(ENOTDIR, "mkdir " + prefix);
    }
    if (slash == std::string::npos) return {};
  }
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return fail_errno("opendir " + path);
  std::vector<std::string> names;
  // A listing that ends early must not pass for a whole one.
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return fail_errno("readdir " + path);
  std::ranges::sort(names);
  return names;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

Result<> random_bytes(std::span<std::byte> to) {
  while (!to.empty()) {
    const ssize_t count = retry([&] { return ::getrandom(to.data(), to.size(), GRND_NONBLOCK); });
    if (count < 0) return fail_errno("getrandom");
    to = to.subspan(static_cast<size_t>(count));
  }
  return {};
}

long long monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace lambdo::sys
