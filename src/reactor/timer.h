#pragma once

#include "base/error.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"

namespace lambdo::reactor {

/// Waits until a moment of CLOCK_MONOTONIC: `co_await SleepOp::until(reactor, deadline_ns, token)`. Gives
/// Code::cancelled where the token was cancelled first.
class SleepOp final : private Timer, private CancelHook {
 public:
  static SleepOp until(Reactor& reactor, int64_t deadline_ns, CancelToken token = {}) {
    return {reactor, deadline_ns, token};
  }
  /// A duration beyond what the clock can tell (292 years) sleeps until cancelled.
  static SleepOp for_ms(Reactor& reactor, int64_t duration_ms, CancelToken token = {});

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<> await_resume() const;

 private:
  SleepOp(Reactor& reactor, int64_t deadline_ns, CancelToken token)
      : Timer(reactor), deadline_ns_(deadline_ns), token_(token) {}
  void fire() override;
  void on_cancel() override;

  int64_t deadline_ns_;
  CancelToken token_;
  Waiter waiter_;
  bool cancelled_ = false;
};

/// Cancels all under its token when the deadline passes, and with its parent. The usual way to bound work:
///
///   Deadline deadline(reactor, reactor.now_ns() + 5'000'000'000, parent);
///   auto result = co_await work(deadline.token());
///   if (deadline.passed()) ...
///
/// A result that comes in the same turn as the deadline stays a result; `passed` tells only why a cancelled
/// one was.
class Deadline final : private Timer {
 public:
  Deadline(Reactor& reactor, int64_t deadline_ns, CancelToken parent = {});

  /// Moves the deadline; of no use once it has passed.
  void set(int64_t deadline_ns) { arm(deadline_ns); }
  /// Stops the clock.
  void clear() { disarm(); }
  void cancel() { source_.cancel(); }
  [[nodiscard]] bool passed() const { return passed_; }
  [[nodiscard]] CancelToken token() { return source_.token(); }

 private:
  void fire() override;

  CancelSource source_;
  bool passed_ = false;
};

}  // namespace lambdo::reactor
