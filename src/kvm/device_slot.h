#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kvm/device_lines.h"
#include "reactor/event.h"
#include "reactor/scope.h"
#include "virtio/mmio.h"

namespace lambdo::kvm {

/// A virtio device in its window, on the reactor: its transport, the notifications read on the ring, the
/// interrupt. A guest that notifies without end gets one wake-up per queue and turn of the loop, and each has
/// the device's own limit; the rest of the loop is served in between.
class DeviceSlot final : private virtio::TransportHost {
 public:
  /// Log lines about a failing device, per slot: a guest can make it fail again and again.
  static constexpr uint32_t kMaxLoggedFailures = 4;

  /// All of these outlive the slot.
  DeviceSlot(reactor::Reactor& reactor, virtio::Device& device, const virtio::GuestMemory& memory,
             const DeviceLines& lines);

  /// Starts listening. `scope` is joined before the slot dies.
  void start(reactor::Scope& scope);

  void read(uint64_t offset, std::span<std::byte> to);
  void write(uint64_t offset, std::span<const std::byte> from);

 private:
  virtio::InterruptStatus& interrupt_status() override { return *lines_.interrupt_status; }
  void raise_interrupt() override;
  void device_failed(const Error& error) override;

  reactor::Task<> serve_queue(uint16_t queue, reactor::CancelToken token);
  reactor::Task<> go_on(reactor::CancelToken token);
  void look_for_work();

  reactor::Reactor& reactor_;
  const DeviceLines& lines_;
  const uint32_t device_type_;
  virtio::MmioTransport transport_;
  reactor::Event has_work_;
  uint32_t failures_ = 0;
};

}  // namespace lambdo::kvm
