#include "kvm/vm_bus.h"

#include <linux/virtio_mmio.h>
#include <sys/eventfd.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::kvm {

namespace {

/// A bus with two devices, of which no one but this answers: with 0x11, 0x22 and so on.
struct Bus final : VmBus::Host {
  Fd interrupt = sys::eventfd(0, EFD_NONBLOCK).value();
  Console console;
  std::array<DeviceLines, 2> devices;
  VmBus bus{console, interrupt.get(), devices, *this};
  std::vector<RegisterRequest> requests;
  std::vector<VmEnd> ends;
  bool answers = true;

  void guest_ends(VmExit exit) override { ends.push_back(exit.end); }
  void ask_reactor(RegisterAccess& access) override {
    RegisterRequest& request = access.request();
    requests.push_back(request);
    if (!answers) return bus.abandon_access(0);
    uint8_t value = 0;
    if (!request.is_write) {
      for (std::byte& byte : request.data()) byte = std::byte{value += 0x11};
    }
    access.answer();
  }

  uint32_t read(uint64_t addr, size_t len_bytes = 4) {
    uint32_t value = 0;
    bus.read_mmio(0, addr, std::as_writable_bytes(std::span(&value, 1)).first(len_bytes));
    return value;
  }
  void write(uint64_t addr, uint32_t value) { bus.write_mmio(0, addr, std::as_bytes(std::span(&value, 1))); }
};

}  // namespace

TEST_CASE("a device's register is asked of the reactor, by device and offset") {
  Bus bus;
  CHECK_EQ(bus.read(virtio_window(0).addr + 8), 0x44332211);
  CHECK_EQ(bus.read(virtio_window(1).addr + 0x102, 2), 0x2211);
  bus.write(virtio_window(1).addr + 0x70, 0x12345678);
  REQUIRE_EQ(bus.requests.size(), 3);
  CHECK_EQ(bus.requests[0].device, 0);
  CHECK_EQ(bus.requests[0].offset, 8);
  CHECK_EQ(bus.requests[1].device, 1);
  CHECK_EQ(bus.requests[1].len_bytes, 2);
  CHECK(bus.requests[2].is_write);
  uint32_t written = 0;
  std::memcpy(&written, bus.requests[2].bytes.data(), sizeof written);
  CHECK_EQ(written, 0x12345678);
}

TEST_CASE("the interrupt status is served without the reactor") {
  Bus bus;
  bus.devices[1].interrupt_status->raise(3);
  CHECK_EQ(bus.read(virtio_window(1).addr + VIRTIO_MMIO_INTERRUPT_STATUS), 3);
  bus.write(virtio_window(1).addr + VIRTIO_MMIO_INTERRUPT_ACK, 1);
  CHECK_EQ(bus.devices[1].interrupt_status->bits(), 2);
  CHECK(bus.requests.empty());
}

TEST_CASE("an access that the reactor does not answer before the vCPU stops reads as ones, as all after it") {
  Bus bus;
  bus.answers = false;
  CHECK_EQ(bus.read(virtio_window(0).addr), 0xffffffff);
  CHECK_EQ(bus.read(virtio_window(0).addr), 0xffffffff);
  CHECK_EQ(bus.requests.size(), 1);
}

TEST_CASE("the guest's end is asked for at two ports, each with its one value") {
  Bus bus;
  const auto out = [&](uint16_t port, uint8_t value) {
    bus.bus.write_port(port, std::as_bytes(std::span(&value, 1)));
  };
  out(kResetPort, 0xd1);
  out(kSleepControlPort, 0);
  out(kSleepStatusPort, kPowerOffValue);
  CHECK(bus.ends.empty());
  out(kResetPort, kResetValue);
  out(kSleepControlPort, kPowerOffValue);
  CHECK_EQ(bus.ends, std::vector{VmEnd::reset, VmEnd::power_off});
}

}  // namespace lambdo::kvm
