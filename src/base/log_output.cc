#include "base/log_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

namespace lambdo::log {

Output::Output(int fd) : fd_(fd), owner_(::getpid()) {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return;
  if (S_ISSOCK(status.st_mode)) kind_ = Kind::socket;
  if (!S_ISFIFO(status.st_mode) && !S_ISCHR(status.st_mode)) return;
  kind_ = Kind::polled;
  // O_NONBLOCK on the descriptor itself would also change it for the shell and whoever else has it.
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  own_ = Fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (own_.valid()) kind_ = Kind::own;
}

Output::~Output() {
  if (forked()) static_cast<void>(own_.release());
}

/// A child that closes what it does not know, as the launcher does, has something else under that number.
bool Output::forked() const {
  return ::getpid() != owner_;
}

static ssize_t write_when_ready(int fd, std::string_view text) {
  pollfd room{.fd = fd, .events = POLLOUT, .revents = 0};
  if (::poll(&room, 1, 0) <= 0) return 0;
  // A pipe that says it has room takes so much without waiting (pipe(7)).
  return ::write(fd, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
}

/// How much was taken. What cannot be written, for whatever reason, is nobody's to be told.
size_t Output::write_some(std::string_view text) {
  size_t done = 0;
  const Kind kind = kind_ == Kind::own && forked() ? Kind::polled : kind_;
  while (done < text.size()) {
    const std::string_view left = text.substr(done);
    ssize_t count = 0;
    switch (kind) {
      case Kind::file:
        count = ::write(fd_, left.data(), left.size());
        break;
      case Kind::own:
        count = ::write(own_.get(), left.data(), left.size());
        break;
      case Kind::socket:
        count = ::send(fd_, left.data(), left.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
      case Kind::polled:
        count = write_when_ready(fd_, left);
        break;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  return done;
}

bool Output::put(std::string_view line) {
  if (!unfinished_.empty()) {
    unfinished_.erase(0, write_some(unfinished_));
    if (!unfinished_.empty()) return false;
  }
  const size_t done = write_some(line);
  if (done == 0) return false;
  unfinished_ = line.substr(done);
  return true;
}

}  // namespace lambdo::log
