#include "agent/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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

static int give_up(SpawnCall& call) {
  call.start_errno = errno;
  ::_exit(127);
}

static void set_limit(int resource, rlim_t soft, rlim_t hard) {
  // Above the hard limit that the agent itself got, the lower one stays.
  rlimit current{};
  if (::getrlimit(resource, &current) == 0) hard = std::min(hard, current.rlim_max);
  const rlimit wanted{std::min(soft, hard), hard};
  ::setrlimit(resource, &wanted);
}

/// The bare system calls, because libc's would also look after threads. False where one fails.
static bool become(const StepUser& user) {
  return ::syscall(SYS_setgroups, 0, nullptr) == 0 &&
         ::syscall(SYS_setresgid, user.gid, user.gid, user.gid) == 0 &&
         ::syscall(SYS_setresuid, user.uid, user.uid, user.uid) == 0 &&
         ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/// The agent's own score keeps the kernel from choosing it; a step is to be the first to go. The shared
/// memory of a vfork() does not pass it on to the parent (kernel/fork.c, copy_oom_score_adj()).
static void offer_to_oom_killer() {
  const int score = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score < 0) return;
  (void)::write(score, "1000", 4);
  ::close(score);
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
  if (call.plan.cgroup_file >= 0 && ::write(call.plan.cgroup_file, "0", 1) < 0) return give_up(call);
  if (call.plan.user != nullptr) {
    offer_to_oom_killer();
    if (!become(*call.plan.user)) return give_up(call);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(call.plan.program, call.plan.arguments, call.plan.environment);
  return give_up(call);
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
    return fail_errno(call.start_errno, plan.program);
  }
  return pid;
}

}  // namespace lambdo::agent
