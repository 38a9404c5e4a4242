#pragma once

#include <linux/virtio_mmio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lambdo::virtio {

/// The interrupt status register of a virtio-mmio device and the one to acknowledge it (virtio 1.2, 4.2.2).
///
/// A driver accesses both in every interrupt. They are apart from the transport, for any thread, so that a
/// vCPU need not wait for the loop then.
class InterruptStatus {
 public:
  [[nodiscard]] uint32_t bits() const { return bits_.load(std::memory_order_acquire); }
  void set(uint32_t bits) { bits_.store(bits, std::memory_order_release); }
  /// Before the interrupt itself.
  void raise(uint32_t bits) { bits_.fetch_or(bits, std::memory_order_acq_rel); }
  void acknowledge(uint32_t bits) { bits_.fetch_and(~bits, std::memory_order_acq_rel); }

  /// An access of the guest's to the device's window. False where it is to something else, and nothing is
  /// done.
  bool read(uint64_t offset, std::span<std::byte> to) const {
    if (offset != VIRTIO_MMIO_INTERRUPT_STATUS || to.size() != sizeof(uint32_t)) return false;
    const uint32_t value = bits();
    std::memcpy(to.data(), &value, sizeof value);
    return true;
  }
  bool write(uint64_t offset, std::span<const std::byte> from) {
    if (offset != VIRTIO_MMIO_INTERRUPT_ACK || from.size() != sizeof(uint32_t)) return false;
    uint32_t value = 0;
    std::memcpy(&value, from.data(), sizeof value);
    acknowledge(value);
    return true;
  }

 private:
  std::atomic<uint32_t> bits_ = 0;
};

}  // namespace lambdo::virtio
