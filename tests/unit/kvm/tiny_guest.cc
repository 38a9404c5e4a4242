#include "tiny_guest.h"

#include <linux/virtio_mmio.h>

#include <array>
#include <cstring>

#include "fixture.h"
#include "virtio/device.h"
#include "virtio/mmio_state.h"

namespace lambdo::kvm::fixture {

// Instructions: Intel SDM 2.

template <typename T>
Assembler& Assembler::value(T number) {
  std::array<uint8_t, sizeof(T)> raw;
  std::memcpy(raw.data(), &number, sizeof number);
  code_.insert(code_.end(), raw.begin(), raw.end());
  return *this;
}

Assembler& Assembler::bytes(std::initializer_list<uint8_t> code) {
  code_.insert(code_.end(), code);
  return *this;
}

Assembler& Assembler::out(uint16_t port, uint8_t byte) {
  bytes({0xba}).value(uint32_t{port});  // mov edx, port
  return bytes({0xb0, byte, 0xee});     // mov al, byte; out dx, al
}

Assembler& Assembler::print(std::string_view text) {
  for (const char byte : text) out(kSerialPort, static_cast<uint8_t>(byte));
  return *this;
}

Assembler& Assembler::print_eax() {
  bytes({0xba}).value(uint32_t{kSerialPort});
  for (int i = 0; i < 4; ++i) bytes({0xee, 0xc1, 0xe8, 0x08});  // out dx, al; shr eax, 8
  return *this;
}

Assembler& Assembler::in(uint16_t port) {
  bytes({0xba}).value(uint32_t{port});
  return bytes({0x31, 0xc0, 0xec});  // xor eax, eax; in al, dx
}

Assembler& Assembler::load(uint64_t addr) {
  bytes({0x48, 0xbb}).value(addr);  // mov rbx, addr
  return bytes({0x8b, 0x03});       // mov eax, [rbx]
}

Assembler& Assembler::store(uint64_t addr, uint32_t number) {
  bytes({0x48, 0xbb}).value(addr);
  bytes({0xb8}).value(number);  // mov eax, number
  return bytes({0x89, 0x03});   // mov [rbx], eax
}

Assembler& Assembler::await_byte(uint64_t addr, uint8_t byte) {
  bytes({0x48, 0xbb}).value(addr);
  return bytes({0x80, 0x3b, byte, 0x75, 0xfb});  // cmp byte [rbx], byte; jne to the cmp
}

Assembler& Assembler::power_off() {
  return out(kSleepControlPort, kPowerOffValue);
}

Assembler& Assembler::wait_for_interrupts() {
  return bytes({0xfb, 0xf4, 0xeb, 0xfc});  // sti; hlt; jmp to the sti
}

Assembler& Assembler::jump_to(size_t start) {
  bytes({0xe9});
  return value(static_cast<int32_t>(start) - static_cast<int32_t>(code_.size() + 4));
}

Assembler& Assembler::start_virtio_device(uint32_t index) {
  constexpr uint32_t kRingsAddr = 0x20'0000;
  const uint64_t window = virtio_window(index).addr;
  const auto set = [&](uint64_t reg, uint32_t number) { store(window + reg, number); };
  uint32_t status = virtio::status::kAcknowledge | virtio::status::kDriver;
  set(VIRTIO_MMIO_STATUS, status);
  set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
  set(VIRTIO_MMIO_DRIVER_FEATURES, virtio::kFeatureVersion1 >> 32);
  set(VIRTIO_MMIO_STATUS, status |= virtio::status::kFeaturesOk);
  set(VIRTIO_MMIO_QUEUE_SEL, 0);
  set(VIRTIO_MMIO_QUEUE_NUM, 8);
  set(VIRTIO_MMIO_QUEUE_DESC_LOW, kRingsAddr);
  set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, kRingsAddr + 0x1000);
  set(VIRTIO_MMIO_QUEUE_USED_LOW, kRingsAddr + 0x2000);
  set(VIRTIO_MMIO_QUEUE_READY, 1);
  set(VIRTIO_MMIO_STATUS, status | virtio::status::kDriverOk);
  return *this;
}

Assembler& Assembler::route_interrupt(uint32_t gsi, const Assembler& handler) {
  constexpr uint64_t kTableAddr = 0x30'0000;
  constexpr uint32_t kVector = 0x30;
  // Jump over the handler; the gate points at it (SDM 3A, 6.14.1: a 64-bit interrupt gate).
  bytes({0xe9}).value(static_cast<int32_t>(handler.size()));
  const uint64_t handler_addr = kCodeAddr + size();
  code_.insert(code_.end(), handler.code_.begin(), handler.code_.end());
  const uint64_t gate = kTableAddr + uint64_t{kVector} * 16;
  store(gate, static_cast<uint32_t>((handler_addr & 0xffff) | 0x10 << 16));
  store(gate + 4, static_cast<uint32_t>((handler_addr & 0xffff0000) | 0x8e00));
  store(gate + 8, 0);
  store(gate + 12, 0);
  // The table's register: 16 bits of limit, 64 of address; at kTableAddr - 16.
  store(kTableAddr - 16, 0x0fff | static_cast<uint32_t>((kTableAddr & 0xffff) << 16));
  store(kTableAddr - 12, static_cast<uint32_t>(kTableAddr >> 16));
  store(kTableAddr - 8, 0);
  bytes({0x0f, 0x01, 0x1c, 0x25}).value(static_cast<uint32_t>(kTableAddr - 16));  // lidt
  store(kLocalApicAddr + 0xf0, 0x1ff);  // software enable (SDM 3A, 10.9)
  // The I/O APIC's redirection entry (82093AA, 3.2.4): the vector, edge, to CPU 0.
  store(kIoApicAddr, 0x10 + gsi * 2 + 1);
  store(kIoApicAddr + 0x10, 0);
  store(kIoApicAddr, 0x10 + gsi * 2);
  return store(kIoApicAddr + 0x10, kVector);
}

VmConfig tiny_vm_at(const Assembler& code, uint64_t addr) {
  const auto content = std::as_bytes(std::span(code.code()));
  auto image = KernelImage::from_vmlinux(make_elf(
      {{.addr = addr, .content = Bytes(content.begin(), content.end()), .memory_bytes = content.size()}},
      addr));
  return {.ram_bytes = kMinRamBytes,
          .source = {.kernel = std::make_shared<const KernelImage>(std::move(image).value())}};
}

VmConfig tiny_vm(const Assembler& code) {
  return tiny_vm_at(code, kCodeAddr);
}

}  // namespace lambdo::kvm::fixture
