#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "namespace/launcher_main.h"
#include "namespace/message.h"
#include "namespace/sandbox.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"

namespace lambdo::namespaces {

/// A running launcher process. When this dies unused, the launcher ends by itself.
struct LauncherProcess {
  Fd socket;
  pid_t pid = -1;
  Fd pidfd;
  Fd lock;  ///< on the state directory, for as long as this server lives
  LauncherReport report;
};

/// The name of the cgroup folder of the server with this state directory, given as realpath(3) does.
std::string cgroup_folder_name(const std::string& state_dir);

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
class Launcher {
 public:
  /// Takes the lock on the state directory (made where it is missing), forks the launcher and waits until it
  /// is ready. The process must be single-threaded. Errors: Code::unavailable where another server uses the
  /// state directory, bubblewrap or user namespaces are missing; the message says what to do.
  static Result<LauncherProcess> start_process(const LauncherOptions& options);

  Launcher(reactor::Reactor& reactor, LauncherProcess process);
  /// `stop` must have returned.
  ~Launcher() = default;
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  [[nodiscard]] const LauncherReport& report() const { return process_.report; }
  [[nodiscard]] bool alive() const { return alive_; }
  /// nullptr for none. Lives until the next call or the launcher's end.
  void observe(LauncherObserver* observer) { observer_ = observer; }

  /// Makes a kind of sandbox known; gives what `launch` takes. Relative paths are taken from the working
  /// directory. Errors name rootfs or agent.
  reactor::Task<Result<uint32_t>> define(SandboxSpec spec);
  /// Starts a sandbox whose agent gets `agent_socket`. What goes wrong after that in bubblewrap or the agent
  /// is told to the observer, with what they said.
  reactor::Task<Result<SandboxId>> launch(uint32_t kind, Fd agent_socket);
  reactor::Task<Result<>> set_limits(SandboxId sandbox, uint64_t memory_mb, uint64_t processes);
  reactor::Task<Result<Usage>> usage(SandboxId sandbox);
  /// Kills all in it; returns when its processes and cgroups are gone.
  reactor::Task<Result<Usage>> destroy(SandboxId sandbox);
  /// Destroys all; returns when the launcher has ended and is reaped. Calls still waiting fail.
  reactor::Task<> stop();

 private:
  struct Call {
    explicit Call(reactor::Reactor& reactor) : answered(reactor) {}
    reactor::Event answered;
    Result<Message> answer = fail(Code::internal, "no answer");
  };

  reactor::Task<Result<Message>> call(Message request, Fd attached = {});
  reactor::Task<Result<>> send(std::string bytes, const Fd& attached);
  reactor::Task<> receive_all();
  void dispatch(Message message);
  void lose(const Error& error);

  reactor::Reactor* reactor_;
  LauncherProcess process_;
  LauncherObserver* observer_ = nullptr;
  reactor::Scope scope_;
  bool alive_ = true;
  bool stopping_ = false;
  std::map<uint32_t, Call*> calls_;
  uint32_t next_request_ = 1;
  SandboxId next_sandbox_ = 1;
};

}  // namespace lambdo::namespaces
