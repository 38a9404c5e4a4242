#pragma once

#include <functional>
#include <utility>

#include "base/fd.h"
#include "reactor/handover.h"

namespace lambdo::reactor {

/// The only way from another thread onto the reactor: functions posted here run in the loop, in the order
/// posted by each thread. The poster must keep alive what its function refers to until it ran, and a thread
/// that posts must have ended, or at least have returned from `post`, before the reactor dies: that its
/// letter ran does not show it.
class Mailbox {
 public:
  using Letter = std::move_only_function<void()>;

  explicit Mailbox(Fd event) : event_(std::move(event)) {}

  /// Thread-safe and without a lock; wakes the loop where it sleeps.
  void post(Letter letter);

  /// Runs what has been posted up to now. On the reactor's thread.
  void deliver();
  /// The eventfd that becomes readable when there is mail.
  [[nodiscard]] int event() const { return event_.get(); }

 private:
  Fd event_;
  Handover<Letter> letters_;
};

}  // namespace lambdo::reactor
