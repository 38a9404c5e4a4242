#include "agent/run_supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr size_t kBufferBytes = 64 << 10;
/// The executor keeps the deadline; only where guest code has stopped it does the watchdog come to bite.
static constexpr uint64_t kWatchdogGraceMs = 500;
/// Longer than the executor may try to kill.
static constexpr int kShutDownTimeoutMs = 6000;
/// A pipe holds 1 MiB at most; more than this can only come from a process that could not be killed.
static constexpr int kMaxDrainReads = 1024;

RunSupervisor::RunSupervisor(EventLoop& loop, Fd control, Fd watchdog, pid_t executor, Scope scope)
    : loop_(loop),
      control_(std::move(control)),
      watchdog_(std::move(watchdog)),
      processes_(scope),
      scope_(scope),
      buffer_(std::make_unique_for_overwrite<char[]>(kBufferBytes)),
      executor_(executor) {}

Result<std::unique_ptr<RunSupervisor>> RunSupervisor::create(EventLoop& loop, Fd control, pid_t executor,
                                                             Scope scope) {
  // Without a PID namespace the executor's processes must come to us when it dies, and not to the machine's
  // init.
  if (scope == Scope::descendants && ::prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
    return fail_errno("PR_SET_CHILD_SUBREAPER");
  }
  Fd watchdog(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!watchdog.valid()) return fail_errno("timerfd_create");
  std::unique_ptr<RunSupervisor> supervisor(
      new RunSupervisor(loop, std::move(control), std::move(watchdog), executor, scope));
  RunSupervisor* self = supervisor.get();
  TRY(loop.watch(self->control_.get(), EPOLLIN, [self](uint32_t) { self->on_executor_event(); }));
  TRY(loop.watch(self->watchdog_.get(), EPOLLIN, [self](uint32_t) { self->on_watchdog(); }));
  return supervisor;
}

RunSupervisor::~RunSupervisor() {
  loop_.forget(control_.get());
  loop_.forget(watchdog_.get());
  for (Step& step : steps_) drain(step);
}

/// The agent's server process and the executor count against RLIMIT_NPROC as the run's processes do, having
/// the same user.
static constexpr uint64_t kOwnProcesses = 2;

Result<> RunSupervisor::start(Run run, Done done) {
  if (executor_ < 0) return fail(Code::unavailable, "the executor was killed");
  if (run.job.steps.size() > kMaxSteps) {
    return fail(Code::invalid_argument, "more than " + std::to_string(kMaxSteps) + " steps");
  }
  const size_t max_bytes =
      run.output_bytes == 0 ? kMaxStreamBytes : std::min(run.output_bytes, kMaxStreamBytes);
  steps_.resize(run.job.steps.size());
  std::vector<StepOutputs> outputs;
  for (size_t i = 0; i < steps_.size(); ++i)
    outputs.push_back(TRY(open_step(i, run.capture_stdout[i], max_bytes)));
  if (run.job.limits.processes > 0 && scope_ != Scope::machine) run.job.limits.processes += kOwnProcesses;
  TRY(arm_watchdog(run.job.limits.wall_ms));
  step_start_ns_ = sys::monotonic_ns();
  TRY(send_job(control_.get(), run.job, outputs));
  done_ = std::move(done);
  return {};
}

Result<StepOutputs> RunSupervisor::open_step(size_t index, bool capture_stdout, size_t max_bytes) {
  StepOutputs outputs;
  outputs.standard_output = capture_stdout ? TRY(open_stream(steps_[index].standard_output, max_bytes))
                                           : TRY(sys::open("/dev/null", O_WRONLY));
  outputs.standard_error = TRY(open_stream(steps_[index].standard_error, max_bytes));
  return outputs;
}

/// Each step gets pipes of its own: a program may have changed a pipe's flags or size for whoever comes next.
Result<Fd> RunSupervisor::open_stream(Stream& stream, size_t max_bytes) {
  auto [reading, writing] = TRY(sys::pipe());
  if (::fcntl(reading.get(), F_SETFL, O_NONBLOCK) < 0) return fail_errno("fcntl");
  stream.max_bytes = max_bytes;
  stream.pipe = std::move(reading);
  TRY(loop_.watch(stream.pipe.get(), EPOLLIN, [this, &stream](uint32_t) { read_some(stream); }));
  return std::move(writing);
}

Result<> RunSupervisor::arm_watchdog(uint64_t wall_ms) {
  if (wall_ms == 0) return {};
  const uint64_t fire_ms = wall_ms + kWatchdogGraceMs;
  const itimerspec when{
      .it_interval = {},
      .it_value = {static_cast<time_t>(fire_ms / 1000), static_cast<long>(fire_ms % 1000 * 1'000'000)}};
  if (::timerfd_settime(watchdog_.get(), 0, &when, nullptr) < 0) return fail_errno("timerfd_settime");
  return {};
}

void RunSupervisor::cancel() {
  cancelled_ = true;
  ::shutdown(control_.get(), SHUT_WR);
}

void RunSupervisor::on_watchdog() {
  uint64_t expirations = 0;
  if (::read(watchdog_.get(), &expirations, sizeof expirations) < 0 || executor_ < 0) return;
  watchdog_fired_ = true;
  ::kill(executor_, SIGKILL);
}

bool RunSupervisor::read_some(Stream& stream) {
  if (!stream.pipe.valid()) return false;
  const ssize_t count = ::read(stream.pipe.get(), buffer_.get(), kBufferBytes);
  if (count < 0) return errno == EINTR;
  if (count == 0) {
    close(stream);
    return false;
  }
  const auto got = static_cast<size_t>(count);
  const size_t room = std::min(stream.max_bytes - stream.captured.bytes.size(), kMaxKeptBytes - kept_bytes_);
  const size_t kept = std::min(got, room);
  stream.captured.bytes.append(buffer_.get(), kept);
  stream.captured.truncated |= kept < got;
  kept_bytes_ += kept;
  return true;
}

/// Takes what the step has left in its pipes. Nobody can write any more, but a descriptor on its way through
/// a Unix socket may keep a pipe open, so the end of file is not waited for.
void RunSupervisor::drain(Step& step) {
  for (Stream* stream : {&step.standard_output, &step.standard_error}) {
    for (int i = 0; i < kMaxDrainReads && read_some(*stream); ++i) {
    }
    close(*stream);
  }
}

void RunSupervisor::close(Stream& stream) {
  loop_.forget(stream.pipe.get());
  stream.pipe.reset();
}

void RunSupervisor::on_executor_event() {
  const Result<StepEnd> end = receive_step_end(control_.get());
  // More ends than steps can only come from an executor that is not ours any more.
  if (!end || finished_ >= steps_.size()) return on_executor_gone();
  Step& step = steps_[finished_++];
  step.end = *end;
  drain(step);
  step_start_ns_ = sys::monotonic_ns();
  if (end->exit_code != 0 || finished_ == steps_.size()) finish({});
}

void RunSupervisor::on_executor_gone() {
  loop_.forget(control_.get());
  int status = 0;
  Usage usage;
  processes_.kill_and_reap(usage, executor_, status);
  executor_ = -1;
  if (!done_) return;
  if (cancelled_) return finish(fail(Code::cancelled, "the run was cancelled"));
  if (!WIFSIGNALED(status)) {
    return finish(
        fail(Code::unavailable, "the executor ended with status " + std::to_string(WEXITSTATUS(status))));
  }
  Step& step = steps_[finished_];
  step.end = interrupted_step(status);
  uint64_t earlier_us = 0;
  for (size_t i = 0; i < finished_; ++i) earlier_us += steps_[i].end.cpu_us;
  step.end.cpu_us = usage.cpu_us - std::min(usage.cpu_us, earlier_us);
  step.end.max_rss_kb = usage.max_rss_kb;
  drain(step);
  ++finished_;
  finish({});
}

/// Guest code that kills the executor has, with the usual kill -9 -1, killed itself: that is what the step
/// reports.
StepEnd RunSupervisor::interrupted_step(int status) {
  StepEnd end;
  end.signal = WTERMSIG(status);
  end.exit_code = 128 + end.signal;
  end.wall_us = static_cast<uint64_t>(sys::monotonic_ns() - step_start_ns_) / 1000;
  end.timed_out = watchdog_fired_;
  return end;
}

void RunSupervisor::finish(Result<> outcome) {
  const Done done = std::exchange(done_, nullptr);
  const itimerspec never{};
  ::timerfd_settime(watchdog_.get(), 0, &never, nullptr);
  std::vector<StepReport> reports;
  for (size_t i = 0; i < finished_; ++i) {
    Step& step = steps_[i];
    reports.push_back(
        {step.end, std::move(step.standard_output.captured), std::move(step.standard_error.captured)});
  }
  for (Step& step : steps_) drain(step);
  if (!done) return;
  if (outcome) return done(std::move(reports));
  done(std::unexpected(std::move(outcome).error()));
}

void RunSupervisor::shut_down() {
  if (scope_ != Scope::descendants) return;
  if (executor_ < 0) return;
  ::shutdown(control_.get(), SHUT_WR);
  pollfd gone{control_.get(), POLLRDHUP, 0};
  ::poll(&gone, 1, kShutDownTimeoutMs);
  ::kill(executor_, SIGKILL);
  int status = 0;
  Usage usage;
  processes_.kill_and_reap(usage, executor_, status);
}

}  // namespace lambdo::agent
