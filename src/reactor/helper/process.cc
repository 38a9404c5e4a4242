#include "reactor/helper/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "base/syscalls.h"

namespace lambdo::helper {

namespace {

constexpr int kReadyTimeoutMs = 60'000;

Result<Message> wait_ready(const std::string& name, const Fd& socket, Protocol protocol, uint8_t ready) {
  pollfd readable{.fd = socket.get(), .events = POLLIN};
  int count = 0;
  while ((count = ::poll(&readable, 1, kReadyTimeoutMs)) < 0 && errno == EINTR) {
  }
  if (count < 0) return fail_errno("poll");
  if (count == 0) return fail(Code::timeout, "the " + name + " process did not get ready");
  std::optional<Received> first = TRY(receive_message(socket.get(), protocol));
  if (!first) return fail(Code::engine_failed, "the " + name + " process ended without saying why");
  if (first->message.kind == kFailure) return std::unexpected(decode_failure(first->message));
  if (first->message.kind != ready) {
    return fail(Code::internal, "the " + name + " process's first message is something else");
  }
  return std::move(first->message);
}

/// All that the server had open stays the server's. Failing ranges are empty ones.
void close_others(std::span<Fd* const> kept, int first_free) {
  std::vector<unsigned> numbers;
  for (const Fd* fd : kept) numbers.push_back(static_cast<unsigned>(fd->get()));
  std::ranges::sort(numbers);
  auto from = static_cast<unsigned>(first_free);
  for (const unsigned number : numbers) {
    if (number > from) ::close_range(from, number - 1, 0);
    from = number + 1;
  }
  ::close_range(from, ~0U, 0);
}

Result<> settle_descriptors(std::span<Fd* const> kept, int first_free) {
  for (Fd* fd : kept) {
    const int moved = ::fcntl(fd->get(), F_DUPFD_CLOEXEC, first_free);
    if (moved < 0) return fail_errno("dup");
    // The number may be needed below, and the range above is closed as a whole.
    static_cast<void>(fd->release());
    *fd = Fd(moved);
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return fail_errno("open /dev/null");
  for (int fd = 0; fd < first_free; ++fd) {
    if (fd != STDERR_FILENO && fd != null && ::dup2(null, fd) < 0) return fail_errno("dup2");
  }
  close_others(kept, first_free);
  return {};
}

void settle_signals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t blocked;
  ::sigemptyset(&blocked);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2}) {
    ::sigaddset(&blocked, signal);
  }
  ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
}

}  // namespace

Result<Process> start_process(const char* name, Protocol protocol, uint8_t ready,
                              const std::function<int(Fd socket)>& main) {
  auto [ours, theirs] = TRY(sys::socketpair(SOCK_SEQPACKET));
  Process process;
  process.pid = ::fork();
  if (process.pid < 0) return fail_errno("fork");
  if (process.pid == 0) {
    ours.reset();
    ::_exit(main(std::move(theirs)));
  }
  theirs.reset();
  process.socket = std::move(ours);
  Result<Fd> pidfd = sys::pidfd_open(process.pid);
  Result<Message> first =
      pidfd ? wait_ready(name, process.socket, protocol, ready) : std::unexpected(pidfd.error());
  if (!first) {
    ::kill(process.pid, SIGKILL);
    ::waitpid(process.pid, nullptr, 0);
    return std::unexpected(std::move(first).error());
  }
  process.pidfd = std::move(*pidfd);
  process.first = std::move(*first);
  return process;
}

Result<> settle_process(const char* process_name, std::span<Fd* const> kept, int first_free) {
  ::setsid();
  ::umask(022);
  ::prctl(PR_SET_NAME, process_name);
  TRY(settle_descriptors(kept, first_free));
  settle_signals();
  return {};
}

}  // namespace lambdo::helper
