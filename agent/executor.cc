#include "agent/executor.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "agent/direct_program.h"
#include "base/syscalls.h"

namespace lambdo::agent {

/// So often at most are the running processes' times read: a few microseconds for each process.
static constexpr long long kMinCpuCheckNs = 5'000'000;
/// Reaped in one go before the deadline is looked at again; a bomb of short-lived orphans must not starve it.
static constexpr int kReapBatch = 256;

static void normalize_signals() {
  // What a caller ignored would stay ignored in the steps. Blocking all keeps the guest's signals from the
  // executor.
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
}

Executor::Executor(Fd control, Fd input, Fd child_signals, Spawner spawner, Scope scope, StepUser user,
                   std::optional<StepCgroup> cgroup)
    : control_(std::move(control)),
      input_(std::move(input)),
      child_signals_(std::move(child_signals)),
      spawner_(std::move(spawner)),
      scope_(scope),
      user_(user),
      processes_(scope),
      cgroup_(std::move(cgroup)) {}

Result<Executor> Executor::create(Fd control, Fd input, Scope scope, StepUser user,
                                  std::optional<StepCgroup> cgroup) {
  normalize_signals();
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) return fail_errno("PR_SET_CHILD_SUBREAPER");
  sigset_t child_signal;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  Fd signals(::signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return fail_errno("signalfd");
  return Executor(std::move(control), std::move(input), std::move(signals), TRY(Spawner::create()), scope,
                  user, std::move(cgroup));
}

Result<> Executor::serve() {
  auto job = receive_job(control_.get());
  if (!job) return {};
  if (cgroup_) TRY(cgroup_->limit(job->limits.memory_bytes, job->limits.processes));
  const long long start_ns = sys::monotonic_ns();
  const long long deadline_ns =
      job->limits.wall_ms > 0 ? start_ns + static_cast<long long>(job->limits.wall_ms) * 1'000'000 : 0;
  for (size_t i = 0; i < job->steps.size() && !stopped_; ++i) {
    const StepEnd end = run_step(*job, i, deadline_ns);
    if (!send_step_end(control_.get(), end)) return {};
    if (end.exit_code != 0) break;
  }
  while (!stopped_) sleep_until(0);
  return {};
}

StepEnd Executor::run_step(ReceivedJob& job, size_t index, long long deadline_ns) {
  StepEnd end;
  StepOutputs outputs = std::move(job.outputs[index]);
  ::lseek(input_.get(), 0, SEEK_SET);
  SpawnPlan plan{.program = job.steps[index].front(),
                 .arguments = job.steps[index].data(),
                 .environment = job.environment.data(),
                 .standard_input = input_.get(),
                 .standard_output = outputs.standard_output.get(),
                 .standard_error = outputs.standard_error.get(),
                 .limits = job.limits,
                 .user = scope_ == Scope::machine ? &user_ : nullptr,
                 .cgroup_file = cgroup_ ? cgroup_->processes_file() : -1};
  const uint64_t oom_kills_before = cgroup_ ? cgroup_->oom_kills() : 0;
  const long long start_ns = sys::monotonic_ns();
  const Result<pid_t> main = spawn_step(plan, job, index);
  outputs = {};
  if (!main) {
    end.start_errno = main.error().os_errno;
    end.exit_code = end.start_errno == ENOENT ? 127 : 126;
    return end;
  }
  main_ = *main;
  main_status_ = SIGKILL;
  Usage usage;
  wait_for_main(job.limits, deadline_ns, usage, end);
  end.wall_us = static_cast<uint64_t>(sys::monotonic_ns() - start_ns) / 1000;
  processes_.kill_and_reap(usage, main_, main_status_);
  // It may have ended by itself between the limit and the kill; the limit is what is told.
  if (end.timed_out || end.cpu_exceeded) main_status_ = SIGKILL;
  end.signal = WIFSIGNALED(main_status_) ? WTERMSIG(main_status_) : 0;
  end.exit_code = end.signal != 0 ? 128 + end.signal : WEXITSTATUS(main_status_);
  end.oom_killed = cgroup_ && cgroup_->oom_kills() > oom_kills_before;
  end.cpu_us = usage.cpu_us;
  end.max_rss_kb = usage.max_rss_kb;
  cpu_used_us_ += usage.cpu_us;
  return end;
}

/// The step's program itself where that is all, else the shell; also where the program turns out to be none
/// (a script without a first line, say), for then the shell knows what to do or to say.
Result<pid_t> Executor::spawn_step(SpawnPlan plan, const ReceivedJob& job, size_t index) {
  auto direct = DirectProgram::find(job.steps[index], job.environment);
  if (direct) {
    SpawnPlan direct_plan = plan;
    direct_plan.program = direct->path();
    direct_plan.arguments = direct->arguments();
    if (auto main = spawner_.spawn(direct_plan)) return main;
  }
  return spawner_.spawn(plan);
}

/// When to look at the CPU times again: no sooner can all processors together have used up what is left.
static long long next_cpu_check_ns(uint64_t limit_us, uint64_t used_us) {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  const int count =
      ::sched_getaffinity(0, sizeof processors, &processors) == 0 ? CPU_COUNT(&processors) : CPU_SETSIZE;
  const uint64_t left_us = limit_us > used_us ? limit_us - used_us : 0;
  return sys::monotonic_ns() + std::max(static_cast<long long>(left_us) * 1000 / count, kMinCpuCheckNs);
}

void Executor::wait_for_main(const JobLimits& limits, long long deadline_ns, Usage& usage, StepEnd& end) {
  const uint64_t limit_us = limits.cpu_ms * 1000;
  long long check_ns = limit_us > 0 ? next_cpu_check_ns(limit_us, cpu_used_us_) : 0;
  while (!stopped_) {
    const Reaped reaped = reap_until_main(usage);
    if (reaped == Reaped::main) return;
    const long long now_ns = sys::monotonic_ns();
    if (deadline_ns > 0 && now_ns >= deadline_ns) {
      end.timed_out = true;
      return;
    }
    if (check_ns > 0 && now_ns >= check_ns) {
      const uint64_t used_us = cpu_used_us_ + usage.cpu_us + processes_.running_cpu_us();
      end.cpu_exceeded = used_us >= limit_us;
      if (end.cpu_exceeded) return;
      check_ns = next_cpu_check_ns(limit_us, used_us);
    }
    if (reaped == Reaped::batch) continue;
    sleep_until(deadline_ns > 0 && check_ns > 0 ? std::min(deadline_ns, check_ns)
                                                : std::max(deadline_ns, check_ns));
  }
}

Executor::Reaped Executor::reap_until_main(Usage& usage) {
  for (int i = 0; i < kReapBatch; ++i) {
    const Processes::Ended ended = processes_.reap(usage);
    if (ended.pid <= 0) return Reaped::all;
    if (ended.pid == main_) {
      main_status_ = ended.status;
      return Reaped::main;
    }
  }
  return Reaped::batch;
}

void Executor::sleep_until(long long until_ns) {
  std::array<pollfd, 2> watched{{{child_signals_.get(), POLLIN, 0}, {control_.get(), POLLIN, 0}}};
  timespec timeout{};
  if (until_ns > 0) {
    const long long left_ns = std::max(0LL, until_ns - sys::monotonic_ns());
    timeout = {left_ns / 1'000'000'000, left_ns % 1'000'000'000};
  }
  if (::ppoll(watched.data(), watched.size(), until_ns > 0 ? &timeout : nullptr, nullptr) <= 0) return;
  if (watched[0].revents != 0) {
    signalfd_siginfo info;
    while (::read(child_signals_.get(), &info, sizeof info) > 0) {
    }
  }
  if (watched[1].revents != 0) stopped_ = true;
}

}  // namespace lambdo::agent
