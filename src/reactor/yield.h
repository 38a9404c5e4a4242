#pragma once

#include <coroutine>

#include "reactor/reactor.h"

namespace lambdo::reactor {

/// Lets everything else on the reactor have its turn: `co_await YieldOp(reactor)` resumes in the next turn of
/// the loop. For a coroutine that has more work than one turn may take.
class YieldOp {
 public:
  explicit YieldOp(Reactor& reactor) : reactor_(reactor) {}
  YieldOp(const YieldOp&) = delete;
  YieldOp& operator=(const YieldOp&) = delete;
  ~YieldOp() = default;

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    waiter_.handle = awaiting;
    reactor_.resume_later(waiter_);
  }
  void await_resume() const noexcept {}

 private:
  Reactor& reactor_;
  Waiter waiter_;
};

}  // namespace lambdo::reactor
