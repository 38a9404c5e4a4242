#pragma once

#include "base/check.h"
#include "base/error.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"

namespace lambdo::reactor {

/// Coroutines on one reactor wait here for another one, in the order they came.
///
/// `notify_one` and `notify_all` wake those that wait now; nothing is remembered, so waiters check their
/// condition in a loop. With `set`, all waits end at once from then on, until `clear`.
class Event {
 public:
  explicit Event(Reactor& reactor) : reactor_(&reactor) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  /// Nobody may wait any more.
  ~Event();

  void set();
  void clear() { set_ = false; }
  [[nodiscard]] bool is_set() const { return set_; }
  void notify_one();
  void notify_all();
  [[nodiscard]] bool has_waiters() const { return first_ != nullptr; }

  /// `co_await event.wait(token)`: an error only where the token was cancelled first.
  class WaitOp;
  [[nodiscard]] WaitOp wait(CancelToken token = {});

 private:
  Reactor* reactor_;
  WaitOp* first_ = nullptr;
  WaitOp* last_ = nullptr;
  bool set_ = false;
};

class Event::WaitOp final : private CancelHook {
 public:
  WaitOp(Event& event, CancelToken token) : event_(&event), token_(token) {}
  ~WaitOp() { CHECK(!linked_); }

  [[nodiscard]] bool await_ready() const noexcept { return event_->set_; }
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<> await_resume() const;

 private:
  friend Event;
  void on_cancel() override;
  void unlink();

  Event* event_;
  CancelToken token_;
  Waiter waiter_;
  WaitOp* previous_ = nullptr;
  WaitOp* next_ = nullptr;
  bool linked_ = false;
  bool cancelled_ = false;
};

inline Event::WaitOp Event::wait(CancelToken token) {
  return {*this, token};
}

}  // namespace lambdo::reactor
