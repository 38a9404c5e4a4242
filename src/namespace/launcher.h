#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "namespace/launcher_main.h"
#include "namespace/launcher_protocol.h"
#include "namespace/sandbox.h"
#include "reactor/helper/channel.h"
#include "reactor/helper/process.h"
#include "reactor/helper/socket.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::namespaces {

/// A running launcher process. When this dies unused, the launcher ends by itself.
struct LauncherProcess {
  helper::Process process;
  Fd lock;                            ///< of the state directory, for as long as this server lives
  std::vector<std::string> warnings;  ///< what this machine cannot give sandboxes
};

/// Is told what nobody asked for, from the reactor's loop. Must not destroy the launcher.
class LauncherObserver {
 public:
  virtual ~LauncherObserver() = default;
  /// The sandbox ended by itself; `destroy` it still.
  virtual void sandbox_exited(const SandboxExit& exit) = 0;
  /// The launcher process died, and all sandboxes with it: nothing can be launched any more.
  virtual void launcher_lost(const Error& error) = 0;
};

/// The server's side of the launcher: it starts and ends sandboxes for a server that cannot fork itself.
/// Requests may overlap. When the launcher is lost all of them fail with Code::engine_failed.
class Launcher final : private helper::Channel::Observer {
 public:
  /// Takes the lock on the state directory (made where it is missing), forks the launcher and waits until it
  /// is ready. The process must be single-threaded. Errors: Code::unavailable where another server uses the
  /// state directory, bubblewrap or user namespaces are missing; the message says what to do.
  static Result<LauncherProcess> start_process(const LauncherOptions& options);

  Launcher(reactor::Reactor& reactor, LauncherProcess process);
  /// `stop` must have returned.
  ~Launcher() override = default;
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// What this machine cannot give sandboxes.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  [[nodiscard]] bool alive() const { return channel_.alive(); }
  /// nullptr for none. Lives until the next call or the launcher's end.
  void observe(LauncherObserver* observer) { observer_ = observer; }

  /// Gives the launcher the specification of sandboxes; the result is its number, for `launch`. Relative
  /// paths are taken from the working directory. Errors name rootfs or agent.
  reactor::Task<Result<uint32_t>> define(SandboxSpec spec);
  /// Starts a sandbox whose agent gets `agent_socket`; `network` is there where the specification is
  /// networked: the network namespace, which ends with the sandbox where nobody else has it. What goes wrong
  /// after that in bubblewrap or the agent is told to the observer, with what they said.
  reactor::Task<Result<SandboxId>> launch(uint32_t spec, Fd agent_socket, Fd network = {});
  reactor::Task<Result<>> set_limits(SandboxId sandbox, uint64_t memory_mb, uint64_t processes);
  reactor::Task<Result<Usage>> usage(SandboxId sandbox);
  /// Kills all in it; returns when its processes and cgroups are gone.
  reactor::Task<Result<Usage>> destroy(SandboxId sandbox);
  /// Destroys all; returns when the launcher has ended and is reaped. Calls still waiting fail.
  reactor::Task<> stop();

 private:
  void received(Message message) override;
  void lost(const Error& error) override;
  reactor::Task<Result<Message>> call(Message request, helper::Attachments attached = {});

  std::vector<std::string> warnings_;
  Fd lock_;
  LauncherObserver* observer_ = nullptr;
  SandboxId next_sandbox_ = 1;
  helper::Channel channel_;
};

}  // namespace lambdo::namespaces
