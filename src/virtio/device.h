#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "virtio/memory.h"
#include "virtio/queue.h"

namespace lambdo::virtio {

// virtio 1.2, 6: the feature bits that concern every device.
inline constexpr uint64_t kFeatureIndirect = uint64_t{1} << 28;
inline constexpr uint64_t kFeatureEventIdx = uint64_t{1} << 29;
inline constexpr uint64_t kFeatureVersion1 = uint64_t{1} << 32;
/// What Queue supports, for devices to offer.
inline constexpr uint64_t kQueueFeatures = kFeatureIndirect | kFeatureEventIdx;

/// How a device talks back to its driver. Only while it is active; later calls do nothing.
class Interrupt {
 public:
  /// Chains were given back on `queue` and Queue::needs_notification said so.
  virtual void signal_used(uint16_t queue) = 0;
  /// The configuration space changed.
  virtual void signal_config() = 0;
  /// The driver broke the rules, or the device cannot go on: DEVICE_NEEDS_RESET (virtio 1.2, 2.1.2). The
  /// queues are stopped, nothing comes any more until reset().
  virtual void fail(Error error) = 0;

 protected:
  ~Interrupt() = default;
};

/// What an active device works with; all of it valid until Device::reset returns.
struct ActivationContext {
  const GuestMemory& memory;
  std::span<Queue> queues;  ///< as many as queue_max_sizes(); some may not be ready
  Interrupt& interrupt;
  uint64_t features;  ///< those that device and driver agreed on
  bool restored;      ///< the queues go on from a saved state

  /// Interrupt::signal_used for each queue whose driver waits for chains that were given back.
  void signal_used_queues() const;
};

/// Whether a device stopped at its limit for one wake-up.
enum class Work {
  drained,  ///< waits for the next notification
  more,     ///< wants to be woken again once others had their turn
};

/// A virtio device behind its transport. One thread, the reactor's, calls everything, and nothing may block.
///
/// A device keeps its own plain State, with save() and restore(State) validating as if hostile; the state of
/// queues and registers is the transport's.
class Device {
 public:
  virtual ~Device() = default;

  /// The device id of virtio 1.2, 5.
  [[nodiscard]] virtual uint32_t type() const = 0;
  /// The features offered; the transport adds VIRTIO_F_VERSION_1.
  [[nodiscard]] virtual uint64_t features() const = 0;
  /// One limit per queue: 1 to kMaxQueueSize, a power of 2. Constant.
  [[nodiscard]] virtual std::span<const uint16_t> queue_max_sizes() const = 0;

  /// Any range of the configuration space, at any time; what does not exist reads as 0.
  virtual void read_config(uint64_t offset, std::span<std::byte> to) const { read_fields({}, offset, to); }
  /// Writes to what does not exist or cannot be written are ignored.
  virtual void write_config(uint64_t /*offset*/, std::span<const std::byte> /*from*/) {}

  /// DRIVER_OK was written. The device starts, or fails and stays inactive.
  virtual Result<> activate(const ActivationContext& context) = 0;
  /// The driver notified, perhaps without reason, or Work::more was answered before. Only while active. An
  /// error means the same as Interrupt::fail.
  virtual Result<Work> queue_notified(uint16_t queue) = 0;
  /// Forgets the context and everything of the driver's. Operations under way may still end, and then must
  /// not touch the queues; the device's owner waits for them before guest memory goes.
  virtual void reset() = 0;

 protected:
  /// read_config for a configuration space that lies in `fields`.
  static void read_fields(std::span<const std::byte> fields, uint64_t offset, std::span<std::byte> to);
};

}  // namespace lambdo::virtio
