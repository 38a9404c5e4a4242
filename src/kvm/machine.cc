#include "kvm/machine.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "base/syscalls.h"
#include "kvm/ioctl.h"
#include "kvm/kvm_api.h"
#include "kvm/probe.h"

namespace lambdo::kvm {

namespace {

class Stopwatch {
 public:
  /// Since the last call, or the start.
  int64_t lap_us() {
    const int64_t now = sys::monotonic_ns();
    return (now - std::exchange(start_ns_, now)) / 1000;
  }

 private:
  int64_t start_ns_ = sys::monotonic_ns();
};

/// A VM with its interrupt controllers: local APICs and an I/O APIC in the kernel. No PIT: ACPI tells the
/// guest that there is none.
Result<Fd> create_vm(const Fd& kvm) {
  Fd vm(TRY(kvm_ioctl(kvm, KVM_CREATE_VM, "KVM_CREATE_VM", 0UL)));
  TRY(kvm_ioctl(vm, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", kTssAddr));
  uint64_t identity_map_addr = kIdentityMapAddr;
  TRY(kvm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR", &identity_map_addr));
  TRY(kvm_ioctl(vm, KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP", 0UL));
  return vm;
}

/// The leaves that KVM can give guests here. Their number is not known before: the room for them is doubled.
Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Fd& kvm) {
  for (uint32_t count = 128; count <= 4096; count *= 2) {
    std::vector<std::byte> bytes(sizeof(kvm_cpuid2) + count * sizeof(kvm_cpuid_entry2));
    auto* cpuid = reinterpret_cast<kvm_cpuid2*>(bytes.data());
    cpuid->nent = count;
    auto got = kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID", cpuid);
    if (!got && got.error().os_errno == E2BIG) continue;
    if (!got) return std::unexpected(std::move(got).error());
    return std::vector(cpuid->entries, cpuid->entries + cpuid->nent);
  }
  return fail(Code::engine_failed, "KVM_GET_SUPPORTED_CPUID: more leaves than any processor has");
}

}  // namespace

Result<Fd> open_kvm() {
  constexpr const char* kDevice = "/dev/kvm";
  auto device = sys::open(kDevice, O_RDWR);
  if (device) return device;
  const Code code = device.error().code;
  if (code == Code::resource_exhausted) return device;
  const ProbeReport report = report_of_open_error(device.error().os_errno, kDevice);
  return fail(code == Code::permission_denied ? code : Code::unavailable,
              report.reason + ": " + report.remedy);
}

Result<std::unique_ptr<Machine>> Machine::create(const Fd& kvm, const MachineParts& parts) {
  const RamLayout layout = TRY(RamLayout::create(parts.ram_bytes));
  Stopwatch watch;
  Fd vm = TRY(create_vm(kvm));
  const int64_t vm_us = watch.lap_us();
  std::unique_ptr<Machine> machine(new Machine(layout, TRY(GuestRam::create(layout))));
  machine->vm_ = std::move(vm);
  machine->timings_.vm_us = vm_us;
  TRY(machine->add_memory_slots());
  machine->timings_.memory_us = watch.lap_us();
  TRY(machine->add_devices(parts.queue_counts));
  machine->timings_.devices_us = watch.lap_us();
  TRY(machine->add_vcpus(kvm, parts.vcpu_count));
  machine->timings_.vcpus_us = watch.lap_us();
  return machine;
}

Result<> Machine::boot(const BootSource& source) {
  std::vector<MmioWindow> windows;
  for (uint32_t i = 0; i < devices_.size(); ++i) windows.push_back(virtio_window(i));
  TRY(write_boot_source(source, {.vcpu_count = vcpu_count(), .virtio_devices = windows}, layout_,
                        ram_.memory()));
  for (const auto& vcpu : vcpus_) TRY(vcpu->boot(source.kernel->entry_addr()));
  return {};
}

Result<> Machine::add_memory_slots() {
  uint32_t slot = 0;
  for (const virtio::MemoryRegion& region : ram_.memory().regions()) {
    kvm_userspace_memory_region memory{};
    memory.slot = slot++;
    memory.guest_phys_addr = region.guest_addr;
    memory.memory_size = region.bytes.size();
    memory.userspace_addr = reinterpret_cast<uint64_t>(region.bytes.data());
    TRY(kvm_ioctl(vm_, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &memory));
  }
  return {};
}

Result<> Machine::add_devices(std::span<const uint16_t> queue_counts) {
  serial_interrupt_ = TRY(create_interrupt_line(vm_, kSerialGsi));
  for (uint32_t i = 0; i < queue_counts.size(); ++i) {
    devices_.push_back(TRY(DeviceLines::create(vm_, virtio_window(i), queue_counts[i])));
  }
  return {};
}

Result<> Machine::add_vcpus(const Fd& kvm, uint32_t count) {
  const auto supported = TRY(supported_cpuid(kvm));
  const int run_area_bytes = TRY(kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", 0UL));
  const VcpuSetup setup = {
      .supported = supported, .count = count, .run_area_bytes = static_cast<size_t>(run_area_bytes)};
  for (uint32_t index = 0; index < count; ++index) {
    vcpus_.push_back(TRY(Vcpu::create(vm_, index, setup)));
  }
  return {};
}

}  // namespace lambdo::kvm
