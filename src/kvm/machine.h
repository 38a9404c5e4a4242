#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "kvm/boot/boot_source.h"
#include "kvm/device_lines.h"
#include "kvm/guest_ram.h"
#include "kvm/memory_layout.h"
#include "kvm/vcpu.h"

namespace lambdo::kvm {

/// What a machine is made of, whatever it is filled with.
struct MachineParts {
  uint64_t ram_bytes = 0;  ///< as RamLayout::create takes it
  uint32_t vcpu_count = 1;
  std::span<const uint16_t> queue_counts;  ///< of the virtio devices, one each
};

/// How long the steps of Machine::create took, in microseconds.
struct MachineTimings {
  int64_t vm_us = 0;       ///< KVM_CREATE_VM, interrupt controllers
  int64_t memory_us = 0;   ///< guest memory and its slots
  int64_t devices_us = 0;  ///< interrupt lines and notifications
  int64_t vcpus_us = 0;
};

/// Opens /dev/kvm. unavailable and permission_denied come with the remedy.
Result<Fd> open_kvm();

/// A VM as KVM has it: descriptors and memory, no threads. It is made empty, filled once, and then its vCPUs
/// run. Making, filling and destroying it block.
class Machine {
 public:
  /// Makes a machine with zeroed memory and vCPUs that have a CPUID and no other state. `kvm` is of
  /// open_kvm() and only needed here. invalid_argument: parts that cannot be. After an error nothing is left.
  static Result<std::unique_ptr<Machine>> create(const Fd& kvm, const MachineParts& parts);

  /// Fills it so that vCPU 0 enters the source's kernel. Errors as of write_boot_source(), or of KVM.
  Result<> boot(const BootSource& source);

  [[nodiscard]] const GuestRam& ram() const { return ram_; }
  [[nodiscard]] uint32_t vcpu_count() const { return static_cast<uint32_t>(vcpus_.size()); }
  [[nodiscard]] Vcpu& vcpu(uint32_t index) { return *vcpus_[index]; }
  [[nodiscard]] std::span<const DeviceLines> devices() const { return devices_; }
  /// An eventfd: a write is an edge on the serial port's line.
  [[nodiscard]] int serial_interrupt() const { return serial_interrupt_.get(); }
  [[nodiscard]] const MachineTimings& timings() const { return timings_; }

 private:
  Machine(const RamLayout& layout, GuestRam ram) : layout_(layout), ram_(std::move(ram)) {}

  Result<> add_memory_slots();
  Result<> add_devices(std::span<const uint16_t> queue_counts);
  Result<> add_vcpus(const Fd& kvm, uint32_t count);

  const RamLayout layout_;
  // Destroyed from the last to the first: vCPUs, lines, the VM, and the memory when nothing can touch it.
  GuestRam ram_;
  Fd vm_;
  Fd serial_interrupt_;
  std::vector<DeviceLines> devices_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  MachineTimings timings_;
};

}  // namespace lambdo::kvm
