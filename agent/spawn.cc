#include "agent/spawn.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace lambdo::agent {

static constexpr size_t kStackBytes = 64 << 10;

struct SpawnCall {
  const SpawnPlan& plan;
  int start_errno;
};

static void set_limit(int resource, rlim_t soft, rlim_t hard) {
  // Above the hard limit that the agent itself got, the lower one stays.
  rlimit current{};
  if (::getrlimit(resource, &current) == 0) hard = std::min(hard, current.rlim_max);
  const rlimit wanted{std::min(soft, hard), hard};
  ::setrlimit(resource, &wanted);
}

/// Runs in the child, in the parent's memory and while the parent waits: system calls only.
static int start(void* argument) {
  auto& call = *static_cast<SpawnCall*>(argument);
  const JobLimits& limits = call.plan.limits;
  ::setsid();
  ::dup2(call.plan.standard_input, STDIN_FILENO);
  ::dup2(call.plan.standard_output, STDOUT_FILENO);
  ::dup2(call.plan.standard_error, STDERR_FILENO);
  set_limit(RLIMIT_CORE, 0, 0);
  if (limits.file_bytes > 0) set_limit(RLIMIT_FSIZE, limits.file_bytes, limits.file_bytes);
  if (limits.processes > 0) set_limit(RLIMIT_NPROC, limits.processes, limits.processes);
  if (limits.cpu_ms > 0) {
    // Only a backstop for a single process; the executor adds up all of them, and more exactly.
    const rlim_t seconds = (limits.cpu_ms + 999) / 1000 + 1;
    set_limit(RLIMIT_CPU, seconds, seconds + 1);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(call.plan.arguments[0], call.plan.arguments, call.plan.environment);
  call.start_errno = errno;
  ::_exit(127);
}

Result<Spawner> Spawner::create() {
  return Spawner(
      TRY(Mapping::create(kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK)));
}

Result<pid_t> Spawner::spawn(const SpawnPlan& plan) {
  SpawnCall call{plan, 0};
  const auto stack = stack_.bytes();
  const pid_t pid = ::clone(start, stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, &call);
  if (pid < 0) return fail_errno("clone");
  if (call.start_errno != 0) {
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return fail_errno(call.start_errno, plan.arguments[0]);
  }
  return pid;
}

}  // namespace lambdo::agent
