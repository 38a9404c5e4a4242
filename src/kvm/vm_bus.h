#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kvm/console.h"
#include "kvm/device_lines.h"
#include "kvm/memory_layout.h"
#include "kvm/register_access.h"
#include "kvm/serial.h"
#include "kvm/vcpu.h"
#include "kvm/vm_exit.h"

namespace lambdo::kvm {

/// What a VM's ports and MMIO addresses lead to. The vCPU threads call it: they serve the serial port, the
/// reset and the power register and the devices' interrupt status themselves; all other registers of devices
/// are the reactor's, for which the vCPU's thread waits. Everything else reads as ones and takes no writes.
class VmBus final : public VcpuBus {
 public:
  /// Called on vCPU threads.
  class Host {
   public:
    /// The guest has asked for its end at a port.
    virtual void guest_ends(VmExit exit) = 0;
    /// Has the reactor serve `access`, which lives as long as the bus, and answer it.
    virtual void ask_reactor(RegisterAccess& access) = 0;

   protected:
    ~Host() = default;
  };

  /// Device i is in virtio_window(i). `serial_interrupt` is an eventfd. All of these outlive the bus.
  VmBus(Console& console, int serial_interrupt, std::span<const DeviceLines> devices, Host& host);

  /// For a vCPU that is to stop: it waits for the reactor no more. On any thread.
  void abandon_access(uint32_t vcpu) { accesses_[vcpu].abandon(); }

  void read_port(uint16_t port, std::span<std::byte> to) override;
  void write_port(uint16_t port, std::span<const std::byte> from) override;
  void read_mmio(uint32_t vcpu, uint64_t addr, std::span<std::byte> to) override;
  void write_mmio(uint32_t vcpu, uint64_t addr, std::span<const std::byte> from) override;

 private:
  [[nodiscard]] uint8_t read_port_byte(uint16_t port);
  void write_port_byte(uint16_t port, uint8_t value);
  void access_device(uint32_t vcpu, uint64_t addr, std::span<std::byte> data, bool is_write);

  SerialPort serial_;
  std::span<const DeviceLines> devices_;
  Host& host_;
  std::array<RegisterAccess, kMaxVcpus> accesses_;
};

}  // namespace lambdo::kvm
