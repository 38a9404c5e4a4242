#pragma once

#include <liburing.h>

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "reactor/buffer_pool.h"
#include "reactor/cancel.h"
#include "reactor/mailbox.h"
#include "reactor/task.h"
#include "reactor/timer_queue.h"

namespace lambdo::reactor {

class Reactor;

/// A suspended coroutine that the loop resumes. Lives in the awaiting frame, so queueing it allocates
/// nothing; a frame must not be destroyed while it is queued.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() { CHECK(!queued_); }

  std::coroutine_handle<> handle;

 private:
  friend Reactor;
  Waiter* next_ = nullptr;
  bool queued_ = false;
};

/// An entry of the ring: what a completion's user_data points to. It stays where it is until its last
/// completion came.
class Operation {
 public:
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

 protected:
  explicit Operation(Reactor& reactor) : reactor_(&reactor) {}
  ~Operation();

  /// Called from the loop for every completion; must not run foreign code, only note the result and queue
  /// waiters.
  virtual void complete(int result, uint32_t flags) = 0;

  /// A submission entry that reports to this operation. Call once per submission.
  io_uring_sqe& submit();
  /// Asks the kernel to stop it; the completion still comes (io_uring_prep_cancel(3)).
  void request_cancel();

  [[nodiscard]] Reactor& reactor() const { return *reactor_; }
  [[nodiscard]] bool in_flight() const { return in_flight_; }

 private:
  friend Reactor;
  Reactor* reactor_;
  bool in_flight_ = false;
};

/// How long the loop's turns took: all that ran between two waits in the kernel.
struct TurnStatistics {
  /// Upper bounds of the buckets in microseconds; a last bucket counts the rest.
  static constexpr std::array<int64_t, 8> kBoundsUs = {50, 100, 250, 500, 1000, 2500, 5000, 20000};
  std::array<uint64_t, kBoundsUs.size() + 1> buckets{};
  uint64_t turns = 0;
  int64_t total_ns = 0;
  int64_t longest_ns = 0;
};

struct ReactorOptions {
  /// Sizes of the two queues, rounded up to powers of two. Small ones cost system calls, not correctness.
  unsigned submission_entries = 1024;
  /// At least as many as submission entries.
  unsigned completion_entries = 4096;
  /// Off: the plain path for kernels without these, and for testing it.
  bool multishot_accept = true;
  bool provided_buffers = true;
};

/// The one loop: submits, waits, and resumes coroutines, all on the thread that created it. At most one
/// io_uring_enter(2) a turn while the queues suffice. Completions are noted first and coroutines resumed
/// after, never from inside each other.
class Reactor {
 public:
  /// Fails with Code::unavailable and the remedy where io_uring is missing, switched off or too old (floor:
  /// Linux 6.1).
  static Result<std::unique_ptr<Reactor>> create(ReactorOptions options = {});
  /// Nothing may be in flight, waiting or armed any more.
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /// Starts `task` and runs the loop until it has finished; gives its result. For main() and tests; does not
  /// nest.
  template <typename T>
  T run(Task<T> task);

  /// Queues a suspended coroutine to be resumed in this or the next turn.
  void resume_later(Waiter& waiter);

  /// CLOCK_MONOTONIC in nanoseconds, read now.
  [[nodiscard]] int64_t now_ns() const;
  [[nodiscard]] Mailbox& mailbox() { return *mailbox_; }
  [[nodiscard]] BufferPool& buffers() { return buffers_; }
  [[nodiscard]] const ReactorOptions& options() const { return options_; }
  [[nodiscard]] const TurnStatistics& statistics() const { return statistics_; }
  /// Operations that the kernel holds, without the loop's own.
  [[nodiscard]] uint64_t in_flight() const { return in_flight_; }

 private:
  friend Operation;
  friend Timer;
  class WakeUp;

  Reactor() = default;
  Result<> initialize(ReactorOptions options);
  void turn();
  void wait_for_work();
  [[nodiscard]] bool kernel_has_work() const;
  void reap_completions();
  void run_ready();
  void record_turn(int64_t start_ns);
  io_uring_sqe& next_submission();

  ReactorOptions options_;
  io_uring ring_{};
  bool ring_open_ = false;
  BufferPool buffers_;
  std::unique_ptr<Mailbox> mailbox_;
  std::unique_ptr<WakeUp> wake_up_;
  Waiter* ready_first_ = nullptr;
  Waiter* ready_last_ = nullptr;
  TimerQueue timers_;
  uint64_t in_flight_ = 0;
  int64_t turn_end_ns_ = 0;
  TurnStatistics statistics_;
};

namespace detail {

/// The coroutine at the root: not awaited by anyone, destroys itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

template <typename T>
Detached run_to_end(Task<T> task, std::optional<T>& result, bool& done) {
  result.emplace(co_await std::move(task));
  done = true;
}

inline Detached run_to_end(Task<void> task, bool& done) {
  co_await std::move(task);
  done = true;
}

}  // namespace detail

template <typename T>
T Reactor::run(Task<T> task) {
  bool done = false;
  Waiter start;
  if constexpr (std::is_void_v<T>) {
    start.handle = detail::run_to_end(std::move(task), done).handle;
    resume_later(start);
    while (!done) turn();
  } else {
    std::optional<T> result;
    start.handle = detail::run_to_end(std::move(task), result, done).handle;
    resume_later(start);
    while (!done) turn();
    return std::move(*result);
  }
}

}  // namespace lambdo::reactor
