#pragma once

#include <cstdint>

#include "reactor/reactor.h"

namespace lambdo::virtio_net {

/// The timer of a path that waits: for its rate limit, or for more buffers.
class Alarm final : public reactor::Timer {
 public:
  class Listener {
   public:
    /// The time came for which the alarm was set. Called from inside of the loop: only notes it.
    virtual void alarm_rang() = 0;

   protected:
    ~Listener() = default;
  };

  Alarm(reactor::Reactor& reactor, Listener& listener) : Timer(reactor), listener_(listener) {}

  void set(int64_t at_ns) {
    is_set_ = true;
    arm(at_ns);
  }
  void clear() {
    is_set_ = false;
    disarm();
  }
  [[nodiscard]] bool is_set() const { return is_set_; }

 private:
  void fire() override {
    is_set_ = false;
    listener_.alarm_rang();
  }

  Listener& listener_;
  bool is_set_ = false;
};

}  // namespace lambdo::virtio_net
