#pragma once

#include <cstdint>

#include "reactor/reactor.h"

namespace lambdo::virtio_net {

class Alarm;

/// Who is told of what was waited for. Called from inside of the loop: only notes it.
class Waiting {
 public:
  /// A TAP became ready. `has_failed`: there is nothing behind its descriptor any more.
  virtual void tap_readable(bool has_failed) = 0;
  virtual void tap_writable(bool has_failed) = 0;
  /// The time came for which an alarm was set.
  virtual void alarm_rang(const Alarm& alarm) = 0;

 protected:
  ~Waiting() = default;
};

/// Waits once for a TAP to be readable, or writable.
class Watch final : public reactor::Operation {
 public:
  enum class For : uint8_t { reading, writing };
  Watch(reactor::Reactor& reactor, Waiting& waiting, For purpose)
      : Operation(reactor), waiting_(waiting), purpose_(purpose) {}

  /// Where it does not wait already.
  void arm(int fd);
  void cancel() { request_cancel(); }
  [[nodiscard]] bool is_armed() const { return in_flight(); }

 private:
  void complete(int result, uint32_t flags) override;

  Waiting& waiting_;
  For purpose_;
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
