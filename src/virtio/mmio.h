#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "virtio/device.h"
#include "virtio/interrupt_status.h"
#include "virtio/memory.h"
#include "virtio/mmio_state.h"
#include "virtio/queue.h"

namespace lambdo::virtio {

/// What a transport needs of the VM around it. Called inside of the transport's functions; must not call it
/// back.
class TransportHost {
 public:
  /// The device's, which outlives the transport.
  virtual InterruptStatus& interrupt_status() = 0;
  /// An edge on the device's interrupt line (irqfd).
  virtual void raise_interrupt() = 0;
  /// The device needs a reset; `error` says why. At most once between resets.
  virtual void device_failed(const Error& error) = 0;

 protected:
  ~TransportHost() = default;
};

/// The virtio-mmio transport, version 2 (virtio 1.2, 4.2), of one device.
///
/// Lives on the reactor's thread. Notifications come by notify() (an ioeventfd on kNotifyOffset, one per
/// queue by datamatch) or as writes to that register; both do the same.
class MmioTransport final : private Interrupt {
 public:
  static constexpr uint64_t kWindowBytes = 0x1000;
  static constexpr uint64_t kNotifyOffset = 0x50;
  static constexpr size_t kMaxQueues = 8;

  /// A device after reset. All three outlive the transport.
  MmioTransport(Device& device, const GuestMemory& memory, TransportHost& host);
  MmioTransport(const MmioTransport&) = delete;
  MmioTransport& operator=(const MmioTransport&) = delete;
  ~MmioTransport();

  /// An access of the guest's. Control registers answer aligned accesses of 4 bytes, the configuration space
  /// (from 0x100 on) all; anything else reads as 0 and is ignored.
  void read(uint64_t offset, std::span<std::byte> to) const;
  void write(uint64_t offset, std::span<const std::byte> from);

  /// The driver notified `queue`. Ignored where the device is not running or has no such queue.
  void notify(uint16_t queue);

  /// A device stopped at its limit: resume() is due on a later turn of the loop.
  [[nodiscard]] bool has_work() const { return pending_queues_ != 0; }
  void resume();

  [[nodiscard]] MmioState save() const;
  /// Takes over a saved state, into a transport that is new or reset; the device has restored its own before.
  /// A running device is activated, and resume() is due: notifications of before are lost. After an error
  /// (invalid_argument, or the device's) the transport is reset.
  Result<> restore(const MmioState& saved);

 private:
  // Interrupt, for the device.
  void signal_used(uint16_t queue) override;
  void signal_config() override;
  void fail(Error error) override;
  void interrupt(uint32_t reason);

  [[nodiscard]] uint32_t read_register(uint64_t offset) const;
  void write_register(uint64_t offset, uint32_t value);
  void write_status(uint32_t value);
  void write_driver_features(uint32_t value);
  void write_queue_ready(uint32_t value);
  [[nodiscard]] QueueState* selected_queue_in_setup();
  [[nodiscard]] bool is_running() const { return is_active_ && !state_.is_broken(); }

  Result<> activate(bool restored);
  void stop_queues();
  void reset();

  Device& device_;
  const GuestMemory& memory_;
  TransportHost& host_;
  // Of the queues, what the driver has set up; once DRIVER_OK, queues_ knows better. Interrupts are host_'s.
  MmioState state_;
  std::vector<Queue> queues_;
  bool is_active_ = false;
  uint32_t pending_queues_ = 0;  // a bit per queue
};

}  // namespace lambdo::virtio
