#pragma once

#include <cstdint>

#include "reactor/reactor.h"

namespace lambdo::virtio_net {

class Alarm;

/// Who is told of what was waited for. Called from inside of the loop: only notes it.
class Waiting {
 public:
  /// A FrameRead ended: it has a result.
  virtual void read_ended() = 0;
  /// The last write of a WriteBatch ended.
  virtual void writes_ended() = 0;
  /// The time came for which an alarm was set.
  virtual void alarm_rang(const Alarm& alarm) = 0;

 protected:
  ~Waiting() = default;
};

/// A moment to go on.
class Alarm final : public reactor::Timer {
 public:
  Alarm(reactor::Reactor& reactor, Waiting& waiting) : Timer(reactor), waiting_(waiting) {}

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
    waiting_.alarm_rang(*this);
  }

  Waiting& waiting_;
  bool is_set_ = false;
};

}  // namespace lambdo::virtio_net
