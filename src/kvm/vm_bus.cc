#include "kvm/vm_bus.h"

#include <algorithm>

namespace lambdo::kvm {

VmBus::VmBus(Console& console, int serial_interrupt, std::span<const DeviceLines> devices, Host& host)
    : serial_(console, serial_interrupt), devices_(devices), host_(host) {}

void VmBus::read_port(uint16_t port, std::span<std::byte> to) {
  // Wider accesses are as many of one byte (Intel SDM 1, 19.3), the lowest port first.
  for (std::byte& byte : to) byte = static_cast<std::byte>(read_port_byte(port++));
}

void VmBus::write_port(uint16_t port, std::span<const std::byte> from) {
  for (const std::byte byte : from) write_port_byte(port++, std::to_integer<uint8_t>(byte));
}

uint8_t VmBus::read_port_byte(uint16_t port) {
  if (port >= kSerialPort && port < kSerialPort + kSerialPortCount) return serial_.read(port - kSerialPort);
  // The keyboard controller's status, input buffer empty: drivers wait for that before they ask for a reset.
  if (port == kResetPort) return 0;
  if (port == kSleepControlPort || port == kSleepStatusPort) return 0;
  return 0xff;
}

void VmBus::write_port_byte(uint16_t port, uint8_t value) {
  if (port >= kSerialPort && port < kSerialPort + kSerialPortCount) {
    serial_.write(port - kSerialPort, value);
  } else if (port == kResetPort && value == kResetValue) {
    host_.guest_ends({.end = VmEnd::reset, .detail = "reset port"});
  } else if (port == kSleepControlPort && value == kPowerOffValue) {
    host_.guest_ends({.end = VmEnd::power_off, .detail = "sleep control register"});
  }
}

void VmBus::read_mmio(uint32_t vcpu, uint64_t addr, std::span<std::byte> to) {
  std::ranges::fill(to, std::byte{0xff});  // what stays where nobody answers
  access_device(vcpu, addr, to, false);
}

void VmBus::write_mmio(uint32_t vcpu, uint64_t addr, std::span<const std::byte> from) {
  std::array<std::byte, 8> copy{};
  std::ranges::copy(from, copy.begin());
  access_device(vcpu, addr, std::span(copy).first(from.size()), true);
}

void VmBus::access_device(uint32_t vcpu, uint64_t addr, std::span<std::byte> data, bool is_write) {
  if (addr < kVirtioMmioAddr) return;
  const uint64_t device = (addr - kVirtioMmioAddr) / kVirtioMmioBytes;
  const uint64_t offset = (addr - kVirtioMmioAddr) % kVirtioMmioBytes;
  if (device >= devices_.size() || offset + data.size() > kVirtioMmioBytes) return;
  // Drivers access the interrupt status in every interrupt, so it is served without the reactor.
  virtio::InterruptStatus& interrupts = *devices_[device].interrupt_status;
  if (is_write ? interrupts.write(offset, data) : interrupts.read(offset, data)) return;
  RegisterRequest request{.device = static_cast<uint32_t>(device),
                          .offset = offset,
                          .is_write = is_write,
                          .len_bytes = data.size()};
  std::ranges::copy(data, request.bytes.begin());
  RegisterAccess& access = accesses_[vcpu];
  if (!access.begin(request)) return;
  // One access a vCPU at a time: a guest that does nothing else gets one of them per turn of the loop.
  host_.ask_reactor(access);
  if (access.wait() && !is_write) std::ranges::copy(access.request().data(), data.begin());
}

}  // namespace lambdo::kvm
