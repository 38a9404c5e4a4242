#include "namespace/launcher_main.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/check.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "namespace/launcher_state.h"
#include "namespace/spawn.h"
#include "reactor/helper/process.h"
#include "reactor/helper/socket.h"

namespace lambdo::namespaces {

namespace {

// How long nothing may happen before what has not died yet is killed again.
constexpr int kKillAgainMs = 5;

Message answer(const Result<std::vector<uint64_t>>& result, uint32_t request) {
  Message message =
      result ? Message{.kind = Kind::success, .numbers = *result} : helper::encode_failure(result.error());
  message.numbers.resize(result ? 3 : 2);
  message.request = request;
  return message;
}

std::vector<uint64_t> numbers_of(const Usage& usage) {
  return {usage.oom_kills, usage.memory_peak_bytes, usage.cpu_us};
}

class Loop {
 public:
  Loop(LauncherState& state, int socket, int signals) : state_(&state), socket_(socket), signals_(signals) {}

  /// Serves until the server asks to stop or is gone, and all sandboxes are.
  void run() {
    while (!ending_ || !state_->empty()) turn();
    if (stop_request_ != 0) send(answer(std::vector<uint64_t>{}, stop_request_));
  }

 private:
  void turn() {
    // When ending, requests are not read any more.
    pollfd ready[2] = {{.fd = signals_, .events = POLLIN}, {.fd = ending_ ? -1 : socket_, .events = POLLIN}};
    const int count = ::poll(ready, 2, state_->destroying() ? kKillAgainMs : -1);
    if (count < 0) {
      CHECK(errno == EINTR);
      return;
    }
    if (ready[0].revents != 0) handle_signals();
    if (ready[1].revents != 0) handle_request();
    if (ready[0].revents == 0 && count != 0) return;
    for (const auto& [request, usage] : state_->finish_destroyed(count == 0)) {
      if (request != 0) send(answer(numbers_of(usage), request));
    }
  }

  void handle_signals() {
    signalfd_siginfo info[8];
    static_cast<void>(::read(signals_, info, sizeof info));
    for (SandboxExit& exit : state_->reap()) {
      send({.kind = Kind::exited,
            .numbers = {exit.sandbox, static_cast<uint64_t>(exit.wait_status)},
            .texts = {std::move(exit.output)}});
    }
  }

  void handle_request() {
    Result<std::optional<helper::Received>> received = helper::receive_message(socket_, launcher_protocol());
    if (!received && received.error().code == Code::invalid_argument) {
      log::error("launcher: ignored a request", {{"error", received.error().message}});
      return;
    }
    if (!received || !*received) return end();
    Message& request = (*received)->message;
    if (request.kind == Kind::stop) {
      stop_request_ = request.request;
      return end();
    }
    if (request.kind == Kind::destroy) {
      // Answered when it is gone.
      if (Result<> begun = state_->begin_destroy(request.numbers[0], request.request); !begun) {
        send(answer(std::unexpected(begun.error()), request.request));
      }
      return;
    }
    send(answer(perform(request, std::move((*received)->attached)), request.request));
  }

  Result<std::vector<uint64_t>> perform(const Message& request, helper::Attachments attached) {
    const std::vector<uint64_t>& numbers = request.numbers;
    switch (request.kind) {
      case Kind::define: {
        const SandboxSpec spec = TRY(decode_spec(request));
        return std::vector{TRY(state_->define(spec))};
      }
      case Kind::launch: {
        auto& [agent_socket, network] = attached;
        if (!agent_socket.valid()) return fail(Code::invalid_argument, "launch without the agent's socket");
        const pid_t pid =
            TRY(state_->launch(numbers[0], numbers[1], std::move(agent_socket), std::move(network)));
        return std::vector{static_cast<uint64_t>(pid)};
      }
      case Kind::set_limits:
        TRY(state_->set_limits(numbers[0], numbers[1], numbers[2]));
        return std::vector<uint64_t>{};
      case Kind::usage:
        return numbers_of(TRY(state_->usage(numbers[0])));
      default:
        return fail(Code::invalid_argument, "not a request");
    }
  }

  void end() {
    ending_ = true;
    state_->begin_destroy_all();
  }

  void send(const Message& message) {
    // A server that is gone shows itself at the next poll; sandboxes are destroyed either way.
    static_cast<void>(helper::send_message(socket_, launcher_protocol(), message));
  }

  LauncherState* state_;
  int socket_;
  int signals_;
  bool ending_ = false;
  uint32_t stop_request_ = 0;
};

/// SIGCHLD is read from a descriptor.
Result<Fd> watch_children() {
  sigset_t children;
  ::sigemptyset(&children);
  ::sigaddset(&children, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &children, nullptr);
  const int fd = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return fail_errno("signalfd");
  return Fd(fd);
}

Result<> serve(const LauncherOptions& options, const std::string& state_name, Fd& socket, Fd& lock) {
  // 0 to kSeccompFd stay taken, so that descriptors for new sandboxes can be moved there.
  Fd* const kept[] = {&socket, &lock};
  TRY(helper::settle_process("lambdo-launcher", kept, BwrapCommand::kSeccompFd + 1));
  // Processes of a sandbox whose outermost one has died become our children, so that we reap them.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const Fd signals = TRY(watch_children());
  LauncherState state = TRY(LauncherState::create(options, state_name));
  TRY(helper::send_message(socket.get(), launcher_protocol(), encode_report(state.report())));
  Loop(state, socket.get(), signals.get()).run();
  state.remove_cgroups();
  return {};
}

}  // namespace

int launcher_main(const LauncherOptions& options, const std::string& state_name, Fd socket, Fd lock) {
  const Result<> served = serve(options, state_name, socket, lock);
  if (served) return 0;
  // Before the report the server waits for one message, this one.
  static_cast<void>(
      helper::send_message(socket.get(), launcher_protocol(), helper::encode_failure(served.error())));
  return 1;
}

}  // namespace lambdo::namespaces
