#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "virtio/device.h"
#include "virtio/queue.h"

namespace lambdo::virtio {

/// Bits of the device status (virtio 1.2, 2.1).
namespace status {
inline constexpr uint32_t kAcknowledge = 1;
inline constexpr uint32_t kDriver = 2;
inline constexpr uint32_t kDriverOk = 4;
inline constexpr uint32_t kFeaturesOk = 8;
inline constexpr uint32_t kNeedsReset = 64;
inline constexpr uint32_t kFailed = 128;
}  // namespace status

/// The registers of a virtio-mmio device and its queues. Plain, to be saved; untrusted until validate()
/// agreed.
struct MmioState {
  uint32_t status = 0;
  uint32_t interrupt_status = 0;
  uint32_t config_generation = 0;
  uint32_t device_features_select = 0;
  uint32_t driver_features_select = 0;
  uint32_t queue_select = 0;
  uint64_t driver_features = 0;
  std::vector<QueueState> queues;

  [[nodiscard]] bool has(uint32_t bits) const { return (status & bits) == bits; }
  /// The driver or the device gave up: only a reset helps.
  [[nodiscard]] bool is_broken() const { return (status & (status::kFailed | status::kNeedsReset)) != 0; }
  friend bool operator==(const MmioState&, const MmioState&) = default;
};

/// The features of `device` with those of the transport.
uint64_t offered_features(const Device& device);
/// Whether a driver may run `device` with `features`: all offered, VIRTIO_F_VERSION_1 among them.
bool are_acceptable(uint64_t features, const Device& device);

/// Whether a transport of `device` can run on this state (its queues aside, which Queue::create checks). Else
/// invalid_argument.
Result<> validate(const MmioState& state, const Device& device);

}  // namespace lambdo::virtio
