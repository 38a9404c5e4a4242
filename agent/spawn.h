#pragma once

#include <sys/types.h>

#include "agent/executor_protocol.h"
#include "base/error.h"
#include "base/mapping.h"

namespace lambdo::agent {

/// The user and group of the steps in a machine of its own. Never root.
struct StepUser {
  unsigned uid = 1000;
  unsigned gid = 1000;
};

/// How one step's main process starts. All pointers are borrowed for the call.
struct SpawnPlan {
  const char* program;  ///< path
  char* const* arguments;
  char* const* environment;  ///< NAME=value
  int standard_input;
  int standard_output;
  int standard_error;
  JobLimits limits;
  const StepUser* user = nullptr;  ///< the caller is root and the process shall be this one
  int cgroup_file = -1;            ///< StepCgroup::processes_file()
};

/// Starts processes without copying the caller's address space. One at a time; for a process of one thread,
/// with all signals blocked and at their defaults.
class Spawner {
 public:
  static Result<Spawner> create();

  /// Starts the program in a new session with no signal blocked, no core dumps and the plan's rlimits.
  /// Returns its PID once it runs. The descriptors must be 3 or more; all others must be close-on-exec. An
  /// error's os_errno says what fork or execve() met.
  Result<pid_t> spawn(const SpawnPlan& plan);

 private:
  explicit Spawner(Mapping stack) : stack_(std::move(stack)) {}

  Mapping stack_;
};

}  // namespace lambdo::agent
