#include "agent/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/syscalls.h"

namespace lambdo::agent {

static constexpr size_t kBufferBytes = 64 << 10;
/// The executor keeps the deadline; only where guest code has stopped it does the watchdog come to bite.
static constexpr uint64_t kWatchdogGrace_ms = 500;
/// Longer than the executor may try to kill.
static constexpr int kShutDownPatience_ms = 6000;
/// A pipe holds 1 MiB at most; more than this can only come from a process that could not be killed.
static constexpr int kMaxDrainReads = 1024;

static constexpr uint64_t kPeerTag = 0;
static constexpr uint64_t kControlTag = 1;
static constexpr uint64_t kWatchdogTag = 2;
static constexpr uint64_t kStreamTag = 3;  ///< then two for each step: stdout, stderr

Supervisor::Supervisor(Fd peer, Fd control, Fd watchdog, Fd epoll, pid_t executor, Scope scope)
    : peer_(std::move(peer)),
      control_(std::move(control)),
      watchdog_(std::move(watchdog)),
      epoll_(std::move(epoll)),
      processes_(scope),
      scope_(scope),
      buffer_(kBufferBytes),
      executor_(executor) {}

Result<std::unique_ptr<Supervisor>> Supervisor::create(Fd peer, Fd control, pid_t executor, Scope scope) {
  // Without a PID namespace the executor's processes must come to us when it dies, and not to the machine's
  // init.
  if (scope == Scope::descendants && ::prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
    return fail_errno("PR_SET_CHILD_SUBREAPER");
  }
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno("epoll_create1");
  Fd watchdog(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!watchdog.valid()) return fail_errno("timerfd_create");
  std::unique_ptr<Supervisor> supervisor(new Supervisor(
      std::move(peer), std::move(control), std::move(watchdog), std::move(epoll), executor, scope));
  // Only the end of the peer's connection is of interest; its bytes are gRPC's.
  TRY(supervisor->watch(supervisor->peer_.get(), EPOLLRDHUP, kPeerTag));
  TRY(supervisor->watch(supervisor->control_.get(), EPOLLIN, kControlTag));
  TRY(supervisor->watch(supervisor->watchdog_.get(), EPOLLIN, kWatchdogTag));
  return supervisor;
}

Result<> Supervisor::watch(int fd, uint32_t events, uint64_t tag) {
  epoll_event event{.events = events, .data = {.u64 = tag}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno("epoll_ctl");
  return {};
}

/// The agent's threads and the executor count against RLIMIT_NPROC as the run's processes do.
static uint64_t own_processes() {
  struct stat tasks{};
  if (::stat("/proc/self/task", &tasks) < 0 || tasks.st_nlink < 3) return 16;
  return tasks.st_nlink - 2 + 1;
}

Result<> Supervisor::start(Run run, Done done) {
  const std::lock_guard lock(mutex_);
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
  if (run.job.limits.processes > 0) run.job.limits.processes += own_processes();
  TRY(arm_watchdog(run.job.limits.wall_ms));
  step_start_ns_ = sys::monotonic_ns();
  TRY(send_job(control_.get(), run.job, outputs));
  done_ = std::move(done);
  return {};
}

Result<StepOutputs> Supervisor::open_step(size_t index, bool capture_stdout, size_t max_bytes) {
  StepOutputs outputs;
  const uint64_t tag = kStreamTag + 2 * index;
  outputs.standard_output = capture_stdout ? TRY(open_stream(steps_[index].standard_output, max_bytes, tag))
                                           : TRY(sys::open("/dev/null", O_WRONLY));
  outputs.standard_error = TRY(open_stream(steps_[index].standard_error, max_bytes, tag + 1));
  return outputs;
}

/// Each step gets pipes of its own: a program may have changed a pipe's flags or size for whoever comes next.
Result<Fd> Supervisor::open_stream(Stream& stream, size_t max_bytes, uint64_t tag) {
  auto [reading, writing] = TRY(sys::pipe());
  if (::fcntl(reading.get(), F_SETFL, O_NONBLOCK) < 0) return fail_errno("fcntl");
  stream.max_bytes = max_bytes;
  stream.pipe = std::move(reading);
  TRY(watch(stream.pipe.get(), EPOLLIN, tag));
  return std::move(writing);
}

Result<> Supervisor::arm_watchdog(uint64_t wall_ms) {
  if (wall_ms == 0) return {};
  const uint64_t fire_ms = wall_ms + kWatchdogGrace_ms;
  const itimerspec when{
      .it_interval = {},
      .it_value = {static_cast<time_t>(fire_ms / 1000), static_cast<long>(fire_ms % 1000 * 1'000'000)}};
  if (::timerfd_settime(watchdog_.get(), 0, &when, nullptr) < 0) return fail_errno("timerfd_settime");
  return {};
}

void Supervisor::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  ::shutdown(control_.get(), SHUT_WR);
}

void Supervisor::serve() {
  std::array<epoll_event, 16> events{};
  while (true) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      if (events[static_cast<size_t>(i)].data.u64 == kPeerTag) return shut_down_executor();
    }
    for (int i = 0; i < count; ++i) handle(events[static_cast<size_t>(i)].data.u64);
  }
}

void Supervisor::handle(uint64_t tag) {
  if (tag == kControlTag) return on_executor_event();
  const std::lock_guard lock(mutex_);
  if (tag == kWatchdogTag) {
    uint64_t expirations = 0;
    if (::read(watchdog_.get(), &expirations, sizeof expirations) < 0 || executor_ < 0) return;
    watchdog_fired_ = true;
    ::kill(executor_, SIGKILL);
    return;
  }
  Step& step = steps_[(tag - kStreamTag) / 2];
  read_some((tag - kStreamTag) % 2 == 0 ? step.standard_output : step.standard_error);
}

bool Supervisor::read_some(Stream& stream) {
  if (!stream.pipe.valid()) return false;
  const ssize_t count = ::read(stream.pipe.get(), buffer_.data(), buffer_.size());
  if (count < 0) return errno == EINTR;
  if (count == 0) {
    stream.pipe.reset();
    return false;
  }
  const auto got = static_cast<size_t>(count);
  const size_t room = std::min(stream.max_bytes - stream.captured.bytes.size(), kMaxKeptBytes - kept_bytes_);
  const size_t kept = std::min(got, room);
  stream.captured.bytes.append(buffer_.data(), kept);
  stream.captured.truncated |= kept < got;
  kept_bytes_ += kept;
  return true;
}

/// Takes what the step has left in its pipes. Nobody can write any more, but a descriptor on its way through
/// a Unix socket may keep a pipe open, so the end of file is not waited for.
void Supervisor::drain(Step& step) {
  for (Stream* stream : {&step.standard_output, &step.standard_error}) {
    for (int i = 0; i < kMaxDrainReads && read_some(*stream); ++i) {
    }
    stream->pipe.reset();
  }
}

void Supervisor::on_executor_event() {
  Result<StepEnd> end = receive_step_end(control_.get());
  if (!end) return on_executor_gone();
  bool last = false;
  {
    const std::lock_guard lock(mutex_);
    Step& step = steps_[finished_++];
    step.end = *end;
    drain(step);
    step_start_ns_ = sys::monotonic_ns();
    last = end->exit_code != 0 || finished_ == steps_.size();
  }
  if (last) finish({});
}

void Supervisor::on_executor_gone() {
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, control_.get(), nullptr);
  Result<> outcome;
  {
    const std::lock_guard lock(mutex_);
    int status = 0;
    Usage usage;
    processes_.kill_and_reap(usage, executor_, status);
    executor_ = -1;
    if (!done_) return;
    if (cancelled_) {
      outcome = fail(Code::cancelled, "the run was cancelled");
    } else if (!WIFSIGNALED(status)) {
      outcome =
          fail(Code::unavailable, "the executor ended with status " + std::to_string(WEXITSTATUS(status)));
    } else {
      Step& step = steps_[finished_];
      step.end = interrupted_step(status);
      uint64_t earlier_us = 0;
      for (size_t i = 0; i < finished_; ++i) earlier_us += steps_[i].end.cpu_us;
      step.end.cpu_us = usage.cpu_us - std::min(usage.cpu_us, earlier_us);
      step.end.max_rss_kb = usage.max_rss_kb;
      drain(step);
      ++finished_;
    }
  }
  finish(std::move(outcome));
}

/// Guest code that kills the executor has, with the usual kill -9 -1, killed itself: that is what the step
/// reports.
StepEnd Supervisor::interrupted_step(int status) {
  StepEnd end;
  end.signal = WTERMSIG(status);
  end.exit_code = 128 + end.signal;
  end.wall_us = static_cast<uint64_t>(sys::monotonic_ns() - step_start_ns_) / 1000;
  end.timed_out = watchdog_fired_;
  return end;
}

void Supervisor::finish(Result<> outcome) {
  Done done;
  std::vector<StepReport> reports;
  {
    const std::lock_guard lock(mutex_);
    done = std::exchange(done_, nullptr);
    const itimerspec never{};
    ::timerfd_settime(watchdog_.get(), 0, &never, nullptr);
    for (size_t i = 0; i < finished_; ++i) {
      Step& step = steps_[i];
      reports.push_back(
          {step.end, std::move(step.standard_output.captured), std::move(step.standard_error.captured)});
    }
    for (Step& step : steps_) drain(step);
  }
  if (!done) return;
  if (outcome) return done(std::move(reports));
  done(std::unexpected(std::move(outcome).error()));
}

void Supervisor::shut_down_executor() {
  // When PID 1 ends, the kernel kills all that is in the namespace.
  if (scope_ == Scope::own_namespace) return;
  const std::lock_guard lock(mutex_);
  if (executor_ < 0) return;
  ::shutdown(control_.get(), SHUT_WR);
  pollfd gone{control_.get(), POLLRDHUP, 0};
  ::poll(&gone, 1, kShutDownPatience_ms);
  ::kill(executor_, SIGKILL);
  int status = 0;
  Usage usage;
  processes_.kill_and_reap(usage, executor_, status);
}

}  // namespace lambdo::agent
