#pragma once

#include <optional>

#include "agent/executor_protocol.h"
#include "agent/processes.h"
#include "agent/spawn.h"
#include "agent/step_cgroup.h"
#include "base/fd.h"

namespace lambdo::agent {

/// The agent's second process, which starts the steps and waits for them (executor_protocol.h). It is small,
/// because the peak memory that the kernel reports for a step starts at that of the process it came from.
///
/// In a sandbox guest code has the executor's user and can kill or stop the executor, but not the server
/// process, which is PID 1: so RunSupervisor watches the executor from there. In a machine of its own the
/// executor is root and out of reach.
class Executor {
 public:
  /// Makes the calling process one: signals, subreaper. `control` leads to the server process, `input` is a
  /// file that becomes the steps' standard input. In a machine of its own the caller is root: steps become
  /// `user`, and join `cgroup` where there is one.
  static Result<Executor> create(Fd control, Fd input, Scope scope, StepUser user,
                                 std::optional<StepCgroup> cgroup);

  /// Waits for one job, runs it, waits for the server process to close. Leaves no process behind. An error
  /// means that the job could not be started.
  Result<> serve();

 private:
  Executor(Fd control, Fd input, Fd child_signals, Spawner spawner, Scope scope, StepUser user,
           std::optional<StepCgroup> cgroup);

  /// One step, and nothing of it is left. `deadline_ns` 0: none.
  StepEnd run_step(ReceivedJob& job, size_t index, long long deadline_ns);
  Result<pid_t> spawn_step(SpawnPlan plan, const ReceivedJob& job, size_t index);
  /// Until the main process has ended or a limit is passed or the server process wants no more.
  void wait_for_main(const JobLimits& limits, long long deadline_ns, Usage& usage, StepEnd& end);
  /// Sleeps until a child ends, the server process closes or `until_ns` (0: no end).
  void sleep_until(long long until_ns);
  enum class Reaped { main, all, batch };
  /// Reaps until the main process is among the ended, no other has ended, or a batch is full.
  Reaped reap_until_main(Usage& usage);

  Fd control_;
  Fd input_;
  Fd child_signals_;
  Spawner spawner_;
  Scope scope_;
  StepUser user_;
  Processes processes_;
  std::optional<StepCgroup> cgroup_;
  pid_t main_ = -1;
  int main_status_ = 0;
  uint64_t cpu_used_us_ = 0;  ///< of the steps before
  bool stopped_ = false;      ///< the server process closed `control`
};

}  // namespace lambdo::agent
