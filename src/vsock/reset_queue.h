#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "vsock/connection.h"

namespace lambdo::vsock {

/// Resets that the guest is owed for packets which belong to no connection, oldest first.
class ResetQueue {
 public:
  static constexpr size_t kMaxResets = 256;

  struct Reset {
    Ports ports;
    uint16_t type;
  };

  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// Nothing where the queue is full: a guest that takes no packets loses the answers to those it sends.
  void push(const Reset& reset) {
    if (count_ < kMaxResets) resets_[(first_ + count_++) % kMaxResets] = reset;
  }
  /// Not empty.
  Reset pop() {
    CHECK(!empty());
    const Reset reset = resets_[first_];
    first_ = (first_ + 1) % kMaxResets;
    --count_;
    return reset;
  }
  void clear() { count_ = 0; }

 private:
  std::array<Reset, kMaxResets> resets_;
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace lambdo::vsock
