#include "reactor/cancel.h"

#include "base/check.h"

namespace lambdo::reactor {

void CancelHook::hook(CancelSource& source) {
  CHECK(source_ == nullptr && !source.cancelled_);
  source_ = &source;
  next_ = source.first_;
  previous_ = nullptr;
  if (next_ != nullptr) next_->previous_ = this;
  source.first_ = this;
}

void CancelHook::unhook() {
  if (source_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : source_->first_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  source_ = nullptr;
}

bool CancelToken::cancelled() const {
  return source_ != nullptr && source_->cancelled();
}

CancelSource::CancelSource(CancelToken parent) {
  if (parent.source() == nullptr) return;
  if (parent.cancelled()) {
    cancelled_ = true;
  } else {
    hook(*parent.source());
  }
}

CancelSource::~CancelSource() {
  CHECK(first_ == nullptr);
}

void CancelSource::cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  // Hooks only ask for a stop and resume nothing inline, but may remove themselves or others: always take the
  // first.
  while (first_ != nullptr) {
    CancelHook* hook = first_;
    hook->unhook();
    hook->on_cancel();
  }
}

}  // namespace lambdo::reactor
