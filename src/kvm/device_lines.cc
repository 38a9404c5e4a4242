#include "kvm/device_lines.h"

#include <sys/eventfd.h>

#include "base/syscalls.h"
#include "kvm/ioctl.h"
#include "kvm/kvm_api.h"
#include "virtio/mmio.h"

namespace lambdo::kvm {

/// An eventfd that counts the driver's writes of `queue` to the window's notify register (KVM api.rst,
/// KVM_IOEVENTFD). No exit to a vCPU thread takes place for them.
static Result<Fd> create_notification(const Fd& vm, uint64_t window_addr, uint16_t queue) {
  Fd event = TRY(sys::eventfd(0));
  kvm_ioeventfd ioeventfd{};
  ioeventfd.datamatch = queue;
  ioeventfd.addr = window_addr + virtio::MmioTransport::kNotifyOffset;
  ioeventfd.len = sizeof(uint32_t);
  ioeventfd.fd = event.get();
  ioeventfd.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  TRY(kvm_ioctl(vm, KVM_IOEVENTFD, "KVM_IOEVENTFD", &ioeventfd));
  return event;
}

Result<Fd> create_interrupt_line(const Fd& vm, uint32_t gsi) {
  Fd event = TRY(sys::eventfd(0, EFD_NONBLOCK));
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<uint32_t>(event.get());
  irqfd.gsi = gsi;
  TRY(kvm_ioctl(vm, KVM_IRQFD, "KVM_IRQFD", &irqfd));
  return event;
}

Result<DeviceLines> DeviceLines::create(const Fd& vm, const MmioWindow& window, uint16_t queue_count) {
  DeviceLines lines;
  lines.interrupt = TRY(create_interrupt_line(vm, window.gsi));
  for (uint16_t queue = 0; queue < queue_count; ++queue) {
    lines.notified.push_back(TRY(create_notification(vm, window.addr, queue)));
  }
  return lines;
}

}  // namespace lambdo::kvm
