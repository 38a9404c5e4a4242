#include "reactor/scope.h"

#include "base/check.h"

namespace lambdo::reactor {

namespace {

/// Moves the coroutine that awaits it to the loop's ready queue: a spawned task starts from there and not
/// inside whoever spawned it.
class YieldOp {
 public:
  explicit YieldOp(Reactor& reactor) : reactor_(&reactor) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    waiter_.handle = awaiting;
    reactor_->resume_later(waiter_);
  }
  void await_resume() const noexcept {}

 private:
  Reactor* reactor_;
  Waiter waiter_;
};

}  // namespace

Scope::~Scope() {
  CHECK(running_ == 0);
}

void Scope::spawn(Task<void> task) {
  ++running_;
  run(std::move(task)).handle.resume();
}

detail::Detached Scope::run(Task<void> task) {
  co_await YieldOp(*reactor_);
  {
    // The task's frame must be gone before the scope is told: it may refer to what dies with the scope.
    Task<void> owned = std::move(task);
    co_await std::move(owned);
  }
  if (--running_ == 0) idle_.notify_all();
}

Task<> Scope::join() {
  while (running_ > 0) co_await idle_.wait();
}

}  // namespace lambdo::reactor
