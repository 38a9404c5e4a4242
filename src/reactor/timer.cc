#include "reactor/timer.h"

namespace lambdo::reactor {

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
