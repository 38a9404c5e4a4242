#pragma once

#include <utility>

#include "base/error.h"
#include "reactor/cancel.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::registry {

/// One coroutine at a time, on one reactor.
class Exclusive {
 public:
  class Turn;

  explicit Exclusive(reactor::Reactor& reactor) : freed_(reactor) {}

  /// The turn, which ends when it dies. An error only where the token was cancelled first.
  reactor::Task<Result<Turn>> take(reactor::CancelToken token);

 private:
  reactor::Event freed_;
  bool taken_ = false;
};

class [[nodiscard]] Exclusive::Turn {
 public:
  explicit Turn(Exclusive& owner) : owner_(&owner) {}
  Turn(Turn&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
  Turn& operator=(Turn&&) = delete;
  ~Turn() {
    if (owner_ == nullptr) return;
    owner_->taken_ = false;
    // All, because one that is cancelled at this moment would not pass it on.
    owner_->freed_.notify_all();
  }

 private:
  Exclusive* owner_;
};

inline reactor::Task<Result<Exclusive::Turn>> Exclusive::take(reactor::CancelToken token) {
  while (taken_) CO_TRY(co_await freed_.wait(token));
  taken_ = true;
  co_return Turn(*this);
}

}  // namespace lambdo::registry
