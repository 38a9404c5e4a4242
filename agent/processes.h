#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>

#include "base/error.h"

namespace lambdo::agent {

/// Which processes are the run's.
enum class Scope {
  own_namespace,  ///< the agent is PID 1 of its PID namespace: every process but the agent's two
  machine,        ///< the agent is a machine's init: as before, but for the kernel's threads
  descendants,    ///< only the descendants of the asking process, which must be their subreaper
};

/// What ended processes used.
struct Usage {
  uint64_t cpu_us = 0;
  uint64_t max_rss_kb = 0;

  /// `usage` as wait4() gives it: the process and the children that it has waited for itself.
  void add(const rusage& usage);
};

/// The processes of a run, as seen by one of the agent's processes: the executor, or the server process when
/// the executor is gone. The caller has SIGCHLD blocked and is a child subreaper or PID 1, so every process
/// of the run ends up its child.
class Processes {
 public:
  explicit Processes(Scope scope) : scope_(scope) {}

  struct Ended {
    pid_t pid = 0;  ///< 0: none has ended since, but some run; -1: there are no children left
    int status = 0;
  };
  /// Reaps one child, if one has ended, and adds what it used to `usage`.
  Ended reap(Usage& usage) const;

  /// Sends SIGKILL: in an own namespace to all processes of the run, else to the caller's children.
  void kill() const;

  /// kill() and reap() until no process is left. `main` is watched for: its status goes to `main_status`.
  /// False where some process still lives after 5 s (it hangs in the kernel).
  bool kill_and_reap(Usage& usage, pid_t main, int& main_status) const;

  /// User and system time of the running processes of the run and of those that they have waited for.
  [[nodiscard]] uint64_t running_cpu_us() const;

 private:
  Scope scope_;
};

}  // namespace lambdo::agent
