#include "namespace/launcher_main.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "namespace/launcher_state.h"
#include "namespace/spawn.h"
#include "reactor/helper/process.h"
#include "reactor/helper/requests.h"
#include "reactor/helper/socket.h"

namespace lambdo::namespaces {

namespace {

// How long nothing may happen before what has not died yet is killed again.
constexpr int kKillAgainMs = 5;

/// Every success has three numbers.
Message success(std::vector<uint64_t> numbers = {}) {
  numbers.resize(3);
  return {.kind = MessageKind::success, .numbers = std::move(numbers)};
}

Message usage_answer(const Usage& usage) {
  return success({usage.oom_kills, usage.memory_peak_bytes, usage.cpu_us});
}

class Loop {
 public:
  Loop(LauncherState& state, int socket, int signals)
      : state_(&state), requests_(socket, launcher_protocol(), "launcher"), signals_(signals) {}

  /// Serves until the server asks to stop or is gone, and all sandboxes are.
  void run() {
    while (!ending_ || !state_->empty()) turn();
    if (stop_request_ != 0) requests_.answer(stop_request_, success());
  }

 private:
  void turn() {
    // When ending, requests are not read any more.
    pollfd ready[2] = {{.fd = signals_, .events = POLLIN},
                       {.fd = ending_ ? -1 : requests_.socket(), .events = POLLIN}};
    const int count = ::poll(ready, 2, state_->destroying() ? kKillAgainMs : -1);
    if (count < 0) {
      CHECK(errno == EINTR);
      return;
    }
    if (ready[0].revents != 0) handle_signals();
    if (ready[1].revents != 0) handle_request();
    if (ready[0].revents == 0 && count != 0) return;
    for (const auto& [request, usage] : state_->finish_destroyed(count == 0)) {
      if (request != 0) requests_.answer(request, usage_answer(usage));
    }
  }

  void handle_signals() {
    signalfd_siginfo info[8];
    static_cast<void>(::read(signals_, info, sizeof info));
    for (SandboxExit& exit : state_->reap()) {
      requests_.send({.kind = MessageKind::exited,
                      .numbers = {exit.sandbox, static_cast<uint64_t>(exit.wait_status)},
                      .texts = {std::move(exit.output)}});
    }
  }

  void handle_request() {
    std::optional<helper::Received> received = requests_.receive();
    if (!received) {
      if (requests_.server_is_gone()) end();
      return;
    }
    const Message& request = received->message;
    switch (request.kind) {
      case MessageKind::stop:
        stop_request_ = request.request;
        return end();
      case MessageKind::destroy:
        // Answered when the sandbox is gone.
        if (Result<> begun = state_->begin_destroy(request.numbers[0], request.request); !begun) {
          requests_.answer(request.request, std::unexpected(std::move(begun).error()));
        }
        return;
      default:
        requests_.answer(request.request, perform(request, std::move(received->attached)));
    }
  }

  Result<Message> perform(const Message& request, helper::Attachments attached) {
    const std::vector<uint64_t>& numbers = request.numbers;
    switch (request.kind) {
      case MessageKind::define: {
        const SandboxSpec spec = TRY(decode_spec(request));
        return success({TRY(state_->define(spec))});
      }
      case MessageKind::launch: {
        auto& [agent_socket, network] = attached;
        if (!agent_socket.valid()) return fail(Code::invalid_argument, "launch without the agent's socket");
        TRY(state_->launch(numbers[0], numbers[1], std::move(agent_socket), std::move(network)));
        return success();
      }
      case MessageKind::set_limits:
        TRY(state_->set_limits(numbers[0], numbers[1], numbers[2]));
        return success();
      case MessageKind::usage:
        return usage_answer(TRY(state_->usage(numbers[0])));
      default:
        return fail(Code::invalid_argument, "not a request");
    }
  }

  void end() {
    ending_ = true;
    state_->begin_destroy_all();
  }

  LauncherState* state_;
  helper::Requests requests_;
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
  TRY(helper::send_message(socket.get(), launcher_protocol(),
                           {.kind = MessageKind::ready, .texts = state.warnings()}));
  Loop(state, socket.get(), signals.get()).run();
  state.remove_cgroups();
  return {};
}

}  // namespace

int launcher_main(const LauncherOptions& options, const std::string& state_name, Fd socket, Fd lock) {
  const Result<> served = serve(options, state_name, socket, lock);
  if (served) return 0;
  // Before it is ready the server waits for one message, this one.
  static_cast<void>(
      helper::send_message(socket.get(), launcher_protocol(), helper::encode_failure(served.error())));
  return 1;
}

}  // namespace lambdo::namespaces
