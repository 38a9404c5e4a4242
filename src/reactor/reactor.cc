#include "reactor/reactor.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/syscalls.h"
#include "reactor/restrictions.h"
#include "reactor/ring_setup.h"

namespace lambdo::reactor {

// ---- operations

Operation::~Operation() {
  CHECK(!in_flight_);
}

io_uring_sqe& Operation::submit() {
  CHECK(!in_flight_);
  in_flight_ = true;
  ++reactor_->in_flight_;
  return reactor_->next_submission();
}

void Operation::request_cancel() {
  if (!in_flight_) return;
  io_uring_sqe& entry = reactor_->next_submission();
  io_uring_prep_cancel(&entry, this, 0);
  // Its own completion says nothing we need: the cancelled operation's comes in any case.
  io_uring_sqe_set_data(&entry, nullptr);
}

// ---- the loop

/// Watches the mailbox. A poll and not a read: it holds no buffer that the kernel could still write to after
/// the ring is gone, so it may be in flight when the reactor dies.
class Reactor::WakeUp final : public Operation {
 public:
  explicit WakeUp(Reactor& reactor) : Operation(reactor) {}

  void start() {
    io_uring_sqe& entry = submit();
    io_uring_prep_poll_multishot(&entry, reactor().mailbox_->event(), POLLIN);
    io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
    --reactor().in_flight_;  // the loop's own does not count
  }
  void abandon() { in_flight_ = false; }
  [[nodiscard]] bool rung() const { return rung_; }
  void deliver() {
    rung_ = false;
    if (!in_flight()) start();
    reactor().mailbox_->deliver();
  }

 private:
  void complete(int, uint32_t) override { rung_ = true; }

  bool rung_ = false;
};

static Error explain_setup_failure(int os_errno) {
  Error error = errno_error(os_errno, "io_uring_setup");
  error.code = Code::unavailable;
  switch (os_errno) {
    case EPERM:
    case EACCES:
      error.message +=
          "; set the sysctl kernel.io_uring_disabled to 0 or allow io_uring in the container's seccomp "
          "profile";
      break;
    case ENOSYS:
      error.message +=
          "; this kernel has no io_uring or a seccomp profile hides it: Lambdo needs Linux 6.1 or newer with "
          "io_uring allowed";
      break;
    case EINVAL:
      error.message += "; Lambdo needs Linux 6.1 or newer";
      break;
    case ENOMEM:
      error.message += "; free memory or raise the limit on locked memory (ulimit -l)";
      break;
    case EMFILE:
    case ENFILE:
      error.message += "; raise the limit on open files (ulimit -n)";
      break;
    default:
      break;
  }
  return error;
}

Result<std::unique_ptr<Reactor>> Reactor::create(ReactorOptions options) {
  std::unique_ptr<Reactor> reactor(new Reactor);
  TRY(reactor->initialize(options));
  return reactor;
}

Result<> Reactor::initialize(ReactorOptions options) {
  CHECK(options.submission_entries > 0 && options.completion_entries >= options.submission_entries);
  options_ = options;
  io_uring_params parameters{};
  parameters.flags = kSetupFlags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED;
  parameters.cq_entries = options.completion_entries;
  if (const int error = io_uring_queue_init_params(options.submission_entries, &ring_, &parameters);
      error < 0) {
    return std::unexpected(explain_setup_failure(-error));
  }
  ring_open_ = true;
  io_uring_register_ring_fd(&ring_);  // saves a descriptor look-up a turn; without it all works the same
  if (options.provided_buffers && !buffers_.activate(ring_)) options_.provided_buffers = false;
  TRY(restrict_and_enable(ring_));
  mailbox_ = std::make_unique<Mailbox>(TRY(sys::eventfd(0, EFD_NONBLOCK)));
  wake_up_ = std::make_unique<WakeUp>(*this);
  wake_up_->start();
  return {};
}

Reactor::~Reactor() {
  if (!ring_open_) return;
  CHECK(in_flight_ == 0 && timers_.empty() && ready_first_ == nullptr && buffers_.lent() == 0);
  io_uring_queue_exit(&ring_);
  if (wake_up_) wake_up_->abandon();
}

int64_t Reactor::now_ns() const {
  return sys::monotonic_ns();
}

void Reactor::resume_later(Waiter& waiter) {
  CHECK(!waiter.queued_);
  waiter.queued_ = true;
  waiter.next_ = nullptr;
  (ready_last_ != nullptr ? ready_last_->next_ : ready_first_) = &waiter;
  ready_last_ = &waiter;
}

/// EINTR: a signal. EBUSY, EAGAIN: completions must be reaped first, which always comes next. Anything else
/// is a ring used wrongly, from another thread for instance.
static void check_entered(int result) {
  CHECK(result >= 0 || result == -EINTR || result == -EBUSY || result == -EAGAIN);
}

io_uring_sqe& Reactor::next_submission() {
  while (true) {
    if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) return *entry;
    // The queue is full: hand it to the kernel. Where that wants room for completions first, make it; this
    // only notes results and resumes nobody, so it is safe in the middle of anything.
    check_entered(io_uring_submit(&ring_));
    reap_completions();
  }
}

void Reactor::reap_completions() {
  while (true) {
    if (io_uring_cq_ready(&ring_) == 0) {
      if (!io_uring_cq_has_overflow(&ring_)) return;
      // What did not fit waits in the kernel until it is asked for.
      check_entered(io_uring_get_events(&ring_));
      continue;
    }
    io_uring_cqe* entry = nullptr;
    CHECK(io_uring_peek_cqe(&ring_, &entry) == 0);
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(entry));
    const int result = entry->res;
    const uint32_t flags = entry->flags;
    io_uring_cqe_seen(&ring_, entry);
    if (operation == nullptr) continue;
    if ((flags & IORING_CQE_F_MORE) == 0) {
      operation->in_flight_ = false;
      if (operation != wake_up_.get()) --in_flight_;
    }
    operation->complete(result, flags);
  }
}

bool Reactor::kernel_has_work() const {
  const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_ACQUIRE);
  return io_uring_sq_ready(&ring_) > 0 || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void Reactor::wait_for_work() {
  bool ready = ready_first_ != nullptr || wake_up_->rung();
  __kernel_timespec timeout{};
  if (!ready && !timers_.empty()) {
    // The clock as the last turn left it: nothing of ours ran since, for run() starts with a ready coroutine.
    const int64_t wait_ns = timers_.next_deadline_ns() - turn_end_ns_;
    timeout = {wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    ready = wait_ns <= 0;
  }
  if (ready) {
    // Submit and fetch without sleeping, and not even that where the kernel has nothing to do or to give.
    if (kernel_has_work()) check_entered(io_uring_submit_and_get_events(&ring_));
    return;
  }
  io_uring_cqe* first = nullptr;
  const int result =
      io_uring_submit_and_wait_timeout(&ring_, &first, 1, timers_.empty() ? nullptr : &timeout, nullptr);
  if (result != -ETIME) check_entered(result);  // ETIME: a timer is due
}

void Reactor::turn() {
  wait_for_work();
  const int64_t start_ns = now_ns();
  reap_completions();
  if (wake_up_->rung()) wake_up_->deliver();
  timers_.fire_due(start_ns);
  run_ready();
  record_turn(start_ns);
}

void Reactor::run_ready() {
  // Only those that are ready now: what they make ready waits for the next turn, so that no chain of
  // coroutines that wake each other can starve the ring.
  Waiter* waiter = std::exchange(ready_first_, nullptr);
  ready_last_ = nullptr;
  while (waiter != nullptr) {
    Waiter* next = waiter->next_;  // the waiter dies with the frame that resumes
    waiter->queued_ = false;
    waiter->handle.resume();
    waiter = next;
  }
}

void Reactor::record_turn(int64_t start_ns) {
  turn_end_ns_ = now_ns();
  const int64_t turn_ns = turn_end_ns_ - start_ns;
  ++statistics_.turns;
  statistics_.total_ns += turn_ns;
  statistics_.longest_ns = std::max(statistics_.longest_ns, turn_ns);
  const auto bound = std::ranges::lower_bound(TurnStatistics::kBoundsUs, turn_ns / 1000);
  ++statistics_.buckets[static_cast<size_t>(bound - TurnStatistics::kBoundsUs.begin())];
}

}  // namespace lambdo::reactor
