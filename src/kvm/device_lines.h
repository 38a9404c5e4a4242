#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "kvm/memory_layout.h"
#include "virtio/interrupt_status.h"

namespace lambdo::kvm {

/// What links a virtio device to its guest: KVM turns a write to an eventfd into the device's interrupt, and
/// the driver's notification of a queue into a count on another eventfd.
struct DeviceLines {
  /// Registers all of them with the VM, for a device with `queue_count` queues in `window`.
  static Result<DeviceLines> create(const Fd& vm, const MmioWindow& window, uint16_t queue_count);

  Fd interrupt;              ///< a write is an edge on the device's interrupt line
  std::vector<Fd> notified;  ///< one a queue; readable where the driver notified it
  /// What the interrupt was for. vCPU threads and the reactor use it.
  std::unique_ptr<virtio::InterruptStatus> interrupt_status = std::make_unique<virtio::InterruptStatus>();
};

/// An eventfd of which each write is an edge on the I/O APIC's pin `gsi` (KVM api.rst, KVM_IRQFD).
Result<Fd> create_interrupt_line(const Fd& vm, uint32_t gsi);

}  // namespace lambdo::kvm
