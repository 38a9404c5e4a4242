#include "reactor/timer.h"

#include <limits>

namespace lambdo::reactor {

SleepOp SleepOp::for_ms(Reactor& reactor, int64_t duration_ms, CancelToken token) {
  int64_t deadline_ns = 0;
  if (__builtin_mul_overflow(duration_ms, 1'000'000, &deadline_ns) ||
      __builtin_add_overflow(deadline_ns, reactor.now_ns(), &deadline_ns)) {
    deadline_ns = duration_ms < 0 ? 0 : std::numeric_limits<int64_t>::max();
  }
  return {reactor, deadline_ns, token};
}

bool SleepOp::await_suspend(std::coroutine_handle<> awaiting) {
  if (token_.cancelled()) {
    cancelled_ = true;
    return false;
  }
  waiter_.handle = awaiting;
  if (token_.source() != nullptr) hook(*token_.source());
  arm(deadline_ns_);
  return true;
}

Result<> SleepOp::await_resume() const {
  if (cancelled_) return fail(Code::cancelled, "sleep cancelled");
  return {};
}

void SleepOp::fire() {
  unhook();
  reactor().resume_later(waiter_);
}

void SleepOp::on_cancel() {
  disarm();
  cancelled_ = true;
  reactor().resume_later(waiter_);
}

Deadline::Deadline(Reactor& reactor, int64_t deadline_ns, CancelToken parent)
    : Timer(reactor), source_(parent) {
  arm(deadline_ns);
}

void Deadline::fire() {
  passed_ = true;
  source_.cancel();
}

}  // namespace lambdo::reactor
