#include "reactor/event.h"

#include "base/check.h"

namespace lambdo::reactor {

Event::~Event() {
  CHECK(first_ == nullptr);
}

void Event::set() {
  set_ = true;
  notify_all();
}

void Event::notify_one() {
  if (first_ == nullptr) return;
  WaitOp* woken = first_;
  woken->unlink();
  woken->unhook();
  reactor_->resume_later(woken->waiter_);
}

void Event::notify_all() {
  while (first_ != nullptr) notify_one();
}

bool Event::WaitOp::await_suspend(std::coroutine_handle<> awaiting) {
  if (token_.cancelled()) {
    cancelled_ = true;
    return false;
  }
  waiter_.handle = awaiting;
  if (token_.source() != nullptr) hook(*token_.source());
  previous_ = event_->last_;
  (previous_ != nullptr ? previous_->next_ : event_->first_) = this;
  event_->last_ = this;
  linked_ = true;
  return true;
}

Result<> Event::WaitOp::await_resume() const {
  if (cancelled_) return fail(Code::cancelled, "wait cancelled");
  return {};
}

void Event::WaitOp::on_cancel() {
  cancelled_ = true;
  unlink();
  event_->reactor_->resume_later(waiter_);
}

void Event::WaitOp::unlink() {
  (previous_ != nullptr ? previous_->next_ : event_->first_) = next_;
  (next_ != nullptr ? next_->previous_ : event_->last_) = previous_;
  previous_ = nullptr;
  next_ = nullptr;
  linked_ = false;
}

}  // namespace lambdo::reactor
