#include "reactor/reactor.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/syscalls.h"

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

// ---- timers

void Timer::arm(int64_t deadline_ns) {
  disarm();
  deadline_ns_ = deadline_ns;
  reactor_->timers_.push_back(this);
  heap_index_ = reactor_->timers_.size() - 1;
  reactor_->sift_up(heap_index_);
}

void Timer::disarm() {
  if (heap_index_ == kNotArmed) return;
  auto& heap = reactor_->timers_;
  const size_t index = std::exchange(heap_index_, kNotArmed);
  Timer* last = heap.back();
  heap.pop_back();
  if (last == this) return;
  reactor_->place(index, last);
  reactor_->sift_up(index);
  reactor_->sift_down(last->heap_index_);
}

void Reactor::place(size_t index, Timer* timer) {
  timers_[index] = timer;
  timer->heap_index_ = index;
}

void Reactor::sift_up(size_t index) {
  Timer* timer = timers_[index];
  while (index > 0 && timer->deadline_ns_ < timers_[(index - 1) / 2]->deadline_ns_) {
    place(index, timers_[(index - 1) / 2]);
    index = (index - 1) / 2;
  }
  place(index, timer);
}

void Reactor::sift_down(size_t index) {
  Timer* timer = timers_[index];
  while (true) {
    size_t child = 2 * index + 1;
    if (child >= timers_.size()) break;
    if (child + 1 < timers_.size() && timers_[child + 1]->deadline_ns_ < timers_[child]->deadline_ns_)
      ++child;
    if (timer->deadline_ns_ <= timers_[child]->deadline_ns_) break;
    place(index, timers_[child]);
    index = child;
  }
  place(index, timer);
}

void Reactor::fire_due_timers() {
  if (timers_.empty()) return;
  const int64_t now = now_ns();
  while (!timers_.empty() && timers_.front()->deadline_ns_ <= now) {
    Timer* due = timers_.front();
    due->disarm();
    due->fire();
  }
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
  if (os_errno == EPERM) {
    error.message +=
        "; set the sysctl kernel.io_uring_disabled to 0 or allow io_uring in the container's seccomp profile";
  } else if (os_errno == EINVAL || os_errno == ENOSYS) {
    error.message += "; Lambdo needs Linux 6.1 or newer";
  }
  return error;
}

Result<std::unique_ptr<Reactor>> Reactor::create(ReactorOptions options) {
  std::unique_ptr<Reactor> reactor(new Reactor);
  TRY(reactor->initialize(options));
  return reactor;
}

Result<> Reactor::initialize(ReactorOptions options) {
  options_ = options;
  io_uring_params parameters{};
  // DEFER_TASKRUN keeps completion work inside our one io_uring_enter(2) per turn (Linux 6.1).
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                     IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP;
  parameters.cq_entries = options.completion_entries;
  if (const int error = io_uring_queue_init_params(options.submission_entries, &ring_, &parameters);
      error < 0) {
    return std::unexpected(explain_setup_failure(-error));
  }
  ring_open_ = true;
  io_uring_register_ring_fd(&ring_);  // saves a descriptor look-up a turn; without it all works the same
  if (options.provided_buffers && !buffers_.activate(ring_)) options_.provided_buffers = false;
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
  waiter.next_ = nullptr;
  (ready_last_ != nullptr ? ready_last_->next_ : ready_first_) = &waiter;
  ready_last_ = &waiter;
}

io_uring_sqe& Reactor::next_submission() {
  while (true) {
    if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) return *entry;
    // The queue is full: hand it to the kernel. Where that wants room for completions first, make it; this
    // only notes results and resumes nobody, so it is safe in the middle of anything.
    io_uring_submit(&ring_);
    reap_completions();
  }
}

void Reactor::reap_completions() {
  while (true) {
    io_uring_cqe* entry = nullptr;
    // Peeking also fetches what overflowed the completion queue (io_uring_peek_cqe enters the kernel for it).
    if (io_uring_peek_cqe(&ring_, &entry) < 0 || entry == nullptr) return;
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

void Reactor::wait_for_work() {
  __kernel_timespec timeout{};
  __kernel_timespec* timeout_pointer = nullptr;
  if (ready_first_ != nullptr || wake_up_->rung()) {
    timeout_pointer = &timeout;  // zero: submit and fetch, do not sleep
  } else if (!timers_.empty()) {
    const int64_t wait_ns = std::max<int64_t>(0, timers_.front()->deadline_ns_ - now_ns());
    timeout = {wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    timeout_pointer = &timeout;
  }
  io_uring_cqe* first = nullptr;
  const int result = io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout_pointer, nullptr);
  // ETIME: a timer is due. EINTR: a signal. EBUSY, EAGAIN: completions must be reaped first, which comes
  // next.
  CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY || result == -EAGAIN);
}

void Reactor::turn() {
  wait_for_work();
  const int64_t start_ns = now_ns();
  reap_completions();
  if (wake_up_->rung()) wake_up_->deliver();
  fire_due_timers();
  // Only those that are ready now: what they make ready waits for the next turn, so that no chain of
  // coroutines that wake each other can starve the ring.
  Waiter* waiter = std::exchange(ready_first_, nullptr);
  ready_last_ = nullptr;
  while (waiter != nullptr) {
    Waiter* next = waiter->next_;  // the waiter dies with the frame that resumes
    waiter->handle.resume();
    waiter = next;
  }
  record_turn(now_ns() - start_ns);
}

void Reactor::record_turn(int64_t turn_ns) {
  ++statistics_.turns;
  statistics_.total_ns += turn_ns;
  statistics_.longest_ns = std::max(statistics_.longest_ns, turn_ns);
  const auto bound = std::ranges::lower_bound(TurnStatistics::kBoundsUs, turn_ns / 1000);
  ++statistics_.buckets[static_cast<size_t>(bound - TurnStatistics::kBoundsUs.begin())];
}

}  // namespace lambdo::reactor
