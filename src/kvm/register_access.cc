#include "kvm/register_access.h"

namespace lambdo::kvm {

bool RegisterAccess::begin(const RegisterRequest& request) {
  // An abandoned access may still be on its way to the reactor: its request is left alone.
  if (state_ == State::abandoned) return false;
  request_ = request;
  State idle = State::idle;
  return state_.compare_exchange_strong(idle, State::waiting);
}

bool RegisterAccess::wait() {
  state_.wait(State::waiting);
  return state_ == State::idle;
}

void RegisterAccess::answer() {
  State waiting = State::waiting;
  if (state_.compare_exchange_strong(waiting, State::idle)) state_.notify_one();
}

void RegisterAccess::abandon() {
  state_ = State::abandoned;
  state_.notify_one();
}

}  // namespace lambdo::kvm
