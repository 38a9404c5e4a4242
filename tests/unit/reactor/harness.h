#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/syscalls.h"
#include "reactor/reactor.h"
#include "reactor/stream.h"
#include "reactor/timer.h"

/// What the reactor's tests share.
namespace lambdo::reactor {

/// The ways a stream or listener can work: with what a new kernel has, and the plain path.
struct Configuration {
  const char* name;
  ReactorOptions options;
};
inline const std::array<Configuration, 3> kConfigurations = {{
    {"multishot accept and provided buffers", {}},
    {"plain path", {.multishot_accept = false, .provided_buffers = false}},
    {"tiny queues", {.submission_entries = 2, .completion_entries = 2}},
}};

inline std::unique_ptr<Reactor> make_reactor(ReactorOptions options = {}) {
  return Reactor::create(options).value();
}

/// Lets the loop run for `turns` turns.
inline Task<> let_run(Reactor& reactor, int turns = 1) {
  for (int i = 0; i < turns; ++i) (void)co_await SleepOp::until(reactor, 0);
}

/// A connected pair of stream sockets.
inline std::pair<Fd, Fd> socket_pair() {
  return sys::socketpair(SOCK_STREAM).value();
}

inline std::vector<std::byte> random_bytes(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

inline size_t open_descriptors() {
  return sys::list_directory("/proc/self/fd").value().size();
}

/// The wait status of a child that runs `body` and then exits with 0.
template <typename Body>
int status_of_child(Body body) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

/// Whether `body` ends its process by a failed CHECK.
template <typename Body>
bool aborts(Body body) {
  const int status = status_of_child([&] {
    ::signal(SIGABRT, SIG_DFL);  // not the test framework's report
    ::close(STDERR_FILENO);
    body();
  });
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

}  // namespace lambdo::reactor
