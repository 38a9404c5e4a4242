#pragma once

#include "virtio/work_budget.h"

namespace lambdo::virtio_net {

/// What the transmit path and the receive path ask of the device that they belong to.
class PathHost {
 public:
  /// Whether the guest has a network now; where it has none, both paths drop frames.
  [[nodiscard]] virtual bool is_link_up() const = 0;
  /// Whether frames may be read from the TAP now. A path is woken when that may have changed.
  [[nodiscard]] virtual bool may_receive() const = 0;
  /// The TAP was found to be gone, for good.
  virtual void tap_lost() = 0;
  /// A path became due, or one of its operations ended: the device's loop is to look at both paths. Called
  /// from inside of the loop; the paths are run later.
  virtual void wake() = 0;

 protected:
  ~PathHost() = default;
};

/// What a path moves in one wake-up. The time counts because a frame passes the host's network stack while
/// the loop waits.
inline constexpr virtio::WorkLimits kWakeUpLimits = {.rounds = 256, .bytes = 2 << 20, .time_ns = 1'000'000};

}  // namespace lambdo::virtio_net
