#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace lambdo::virtio {

/// The most that a device does with one queue in one wake-up, so that other devices and the host get their
/// turn. The device does the rest in a later turn of the loop.
struct WorkLimits {
  /// Looks at the queue, whether or not it had a chain: a hostile driver can move its index to and fro.
  size_t rounds = 0;
  size_t bytes = 0;
  int64_t time_ns = std::numeric_limits<int64_t>::max();
};

/// What a device may still do in the wake-up that it is in. The budget knows no clock: all times are the
/// caller's, in nanoseconds.
class WorkBudget {
 public:
  /// `limits` outlives the budget. A device without a limit of time needs no clock either.
  explicit WorkBudget(const WorkLimits& limits, int64_t now_ns = 0)
      : limits_(limits), start_ns_(now_ns), now_ns_(now_ns) {}

  /// Counts one round; false where a limit is reached and the device has to stop.
  bool begin_round(int64_t now_ns = 0) {
    now_ns_ = now_ns;
    return rounds_++ < limits_.rounds && bytes_ < limits_.bytes && now_ns - start_ns_ < limits_.time_ns;
  }
  /// Counts bytes of the round. The last round may take more than were left.
  void spend(size_t len_bytes) { bytes_ += len_bytes; }
  /// When the last round began; before the first one, when the wake-up did.
  [[nodiscard]] int64_t now_ns() const { return now_ns_; }

 private:
  const WorkLimits& limits_;
  int64_t start_ns_;
  int64_t now_ns_;
  size_t rounds_ = 0;
  size_t bytes_ = 0;
};

}  // namespace lambdo::virtio
