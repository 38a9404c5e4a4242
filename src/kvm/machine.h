#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "kvm/boot/boot_archive.h"
#include "kvm/boot/kernel_image.h"
#include "kvm/guest_ram.h"
#include "kvm/vcpu.h"
#include "virtio/interrupt_status.h"

namespace lambdo::kvm {

/// What a machine is made of and boots; what it points to is only used while it is made.
struct MachineConfig {
  const Fd* device = nullptr;  ///< of open_kvm()
  uint64_t ram_bytes = 0;
  uint32_t vcpu_count = 1;
  const KernelImage* kernel = nullptr;
  const BootArchive* initrd = nullptr;  ///< may be null
  const BootToken* token = nullptr;     ///< where there is an initrd
  std::string_view command_line;
  std::span<const uint16_t> queue_counts;  ///< of the virtio devices, one each
};

/// What links a virtio device to its guest.
struct DeviceLines {
  Fd interrupt;              ///< an eventfd: a write is an edge on the device's line
  std::vector<Fd> notified;  ///< eventfds, one a queue; readable where the driver notified it
  /// What the interrupt was for. Also the vCPU threads'.
  std::unique_ptr<virtio::InterruptStatus> interrupt_status = std::make_unique<virtio::InterruptStatus>();
};

/// How long the steps of Machine::create took, in microseconds.
struct MachineTimings {
  int64_t vm_us = 0;      ///< KVM_CREATE_VM, interrupt controllers
  int64_t memory_us = 0;  ///< guest memory and its slots
  int64_t load_us = 0;    ///< kernel, initrd and boot tables
  int64_t devices_us = 0;
  int64_t vcpus_us = 0;
};

/// Opens /dev/kvm. unavailable and permission_denied come with the remedy.
Result<Fd> open_kvm();

/// A VM as KVM has it, ready to run: descriptors and memory, no threads. Making and destroying it blocks.
class Machine {
 public:
  /// invalid_argument: what cannot be, such as an initrd larger than memory. After an error nothing is left.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config);

  [[nodiscard]] const GuestRam& ram() const { return ram_; }
  [[nodiscard]] Vcpu& vcpu(uint32_t index) { return *vcpus_[index]; }
  [[nodiscard]] std::span<const DeviceLines> devices() const { return devices_; }
  /// An eventfd: a write is an edge on the serial port's line.
  [[nodiscard]] int serial_interrupt() const { return serial_interrupt_.get(); }
  [[nodiscard]] const MachineTimings& timings() const { return timings_; }

 private:
  explicit Machine(GuestRam ram) : ram_(std::move(ram)) {}

  Result<> add_memory_slots();
  Result<> add_devices(std::span<const uint16_t> queue_counts);
  Result<> add_vcpus(const MachineConfig& config);

  // Destroyed from the last to the first: vCPUs, lines, the VM, and the memory when nothing can touch it.
  GuestRam ram_;
  Fd vm_;
  Fd serial_interrupt_;
  std::vector<DeviceLines> devices_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  MachineTimings timings_;
};

}  // namespace lambdo::kvm
