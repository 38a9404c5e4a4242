#pragma once

#include <memory>
#include <string>

#include "agent/event_loop.h"
#include "agent/processes.h"
#include "agent/run_supervisor.h"
#include "agent/service.h"
#include "agent/spawn.h"
#include "agent/workspace.h"
#include "base/error.h"
#include "base/fd.h"

namespace lambdo::agent {

/// Takes care that 0 to 2 are open, on `instead` where they are not, and that nothing else reaches a step.
Result<> prepare_descriptors(const char* instead);

/// The agent's server process without its connections to the host: the event loop, the gRPC service, and the
/// supervisor of the executor process, which is forked here. main.cc (a sandbox) and guest.cc (a machine of
/// its own) add the connections.
///
/// A run passes through: Service takes the host's Execute, RunSupervisor sends it to the executor as a Job
/// (executor_protocol.h), Executor starts the steps.
class AgentServer {
 public:
  struct Plan {
    std::string workspace;  ///< an existing folder
    Scope scope;
    int connection = -1;  ///< not for the executor, which would keep it open
    StepUser user;        ///< of the steps, in a machine of its own
  };

  /// Forks the executor, enters the workspace and sets the process up: signals, memory, no tracing. For a
  /// process of one thread, after prepare_descriptors(). Once.
  static Result<std::unique_ptr<AgentServer>> create(const Plan& plan);

  /// Turns the loop until a client has asked for the guest's end and had a second to hear the answer.
  void serve();

  EventLoop& loop() { return loop_; }
  Service& service() { return *service_; }
  RunSupervisor& supervisor() { return *supervisor_; }

 private:
  AgentServer(Workspace workspace, Fd input, EventLoop loop)
      : workspace_(std::move(workspace)), input_(std::move(input)), loop_(std::move(loop)) {}

  Workspace workspace_;
  Fd input_;
  EventLoop loop_;
  std::unique_ptr<RunSupervisor> supervisor_;
  std::unique_ptr<Service> service_;
};

}  // namespace lambdo::agent
