#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvm/boot/kernel_image.h"
#include "kvm/vm.h"

/// Guests of a few instructions, for what a VM does at each of their exits. They run on any KVM, also one
/// that emulates.
namespace lambdo::kvm::fixture {

/// Where a guest's code lies.
inline constexpr uint64_t kCodeAddr = 16 * kMiB;

/// 64-bit code that runs at kCodeAddr, written down instruction by instruction. All registers are free.
class Assembler {
 public:
  Assembler& bytes(std::initializer_list<uint8_t> code);
  /// out port, value: one byte.
  Assembler& out(uint16_t port, uint8_t value);
  /// To the serial port.
  Assembler& print(std::string_view text);
  /// The four bytes of eax to the serial port, the lowest first.
  Assembler& print_eax();
  /// eax = what the port or the address gives.
  Assembler& in(uint16_t port);
  Assembler& load(uint64_t addr);
  Assembler& store(uint64_t addr, uint32_t value);
  /// Loops until the byte at `addr` is `value`.
  Assembler& await_byte(uint64_t addr, uint8_t value);
  Assembler& power_off();
  /// hlt with interrupts on, for ever.
  Assembler& wait_for_interrupts();
  /// Runs all from `start`, a size() of before, again and again.
  Assembler& jump_to(size_t start);

  /// The driver's part of virtio-mmio for device `index` with one queue of 8 entries in the guest's memory,
  /// up to DRIVER_OK (virtio 1.2, 3.1.1).
  Assembler& start_virtio_device(uint32_t index);
  /// Makes the device's interrupt run `handler`, which need not return.
  Assembler& route_interrupt(uint32_t gsi, const Assembler& handler);

  [[nodiscard]] size_t size() const { return code_.size(); }
  [[nodiscard]] const std::vector<uint8_t>& code() const { return code_; }

 private:
  template <typename T>
  Assembler& value(T number);

  std::vector<uint8_t> code_;
};

/// A VM of 64 MiB and one vCPU that runs `code`.
VmConfig tiny_vm(const Assembler& code);
/// The same with one segment at `addr`, where it may not fit.
VmConfig tiny_vm_at(const Assembler& code, uint64_t addr);

}  // namespace lambdo::kvm::fixture
