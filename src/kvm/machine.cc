#include "kvm/machine.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <optional>
#include <string>

#include "base/syscalls.h"
#include "kvm/boot/acpi.h"
#include "kvm/boot/boot_params.h"
#include "kvm/boot/cpu_state.h"
#include "kvm/ioctl.h"
#include "kvm/probe.h"
#include "virtio/mmio.h"

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
Result<Fd> create_vm(const Fd& device) {
  Fd vm(TRY(kvm_ioctl(device, KVM_CREATE_VM, "KVM_CREATE_VM", 0UL)));
  TRY(kvm_ioctl(vm, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", kTssAddr));
  uint64_t identity_map_addr = kIdentityMapAddr;
  TRY(kvm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR", &identity_map_addr));
  TRY(kvm_ioctl(vm, KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP", 0UL));
  return vm;
}

Result<> load(const MachineConfig& config, const RamLayout& layout, const virtio::GuestMemory& memory) {
  const KernelImage& kernel = *config.kernel;
  std::optional<AddressRange> initrd;
  if (config.initrd != nullptr) {
    initrd = TRY(place_initrd(layout, kernel.end_addr(), config.initrd->size_bytes(), kernel.initrd_end()));
  }
  TRY(write_kernel(kernel, layout, memory));
  if (initrd) TRY(config.initrd->write(memory, *initrd, *config.token));
  TRY(write_boot_params(memory, layout, config.command_line, initrd));
  TRY(write_boot_tables(memory));
  std::vector<MmioWindow> windows;
  for (uint32_t i = 0; i < config.queue_counts.size(); ++i) windows.push_back(virtio_window(i));
  return write_acpi(memory, {.vcpu_count = config.vcpu_count, .virtio_devices = windows});
}

Result<Fd> add_interrupt(const Fd& vm, uint32_t gsi) {
  Fd event = TRY(sys::eventfd(0, EFD_NONBLOCK));
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<uint32_t>(event.get());
  irqfd.gsi = gsi;
  TRY(kvm_ioctl(vm, KVM_IRQFD, "KVM_IRQFD", &irqfd));
  return event;
}

Result<Fd> add_notification(const Fd& vm, uint64_t window_addr, uint16_t queue) {
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

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Fd& device) {
  for (uint32_t count = 128; count <= 4096; count *= 2) {
    std::vector<std::byte> bytes(sizeof(kvm_cpuid2) + count * sizeof(kvm_cpuid_entry2));
    auto* cpuid = reinterpret_cast<kvm_cpuid2*>(bytes.data());
    cpuid->nent = count;
    auto got = kvm_ioctl(device, KVM_GET_SUPPORTED_CPUID, "KVM_GET_SUPPORTED_CPUID", cpuid);
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

Result<std::unique_ptr<Machine>> Machine::create(const MachineConfig& config) {
  const RamLayout layout = TRY(RamLayout::create(config.ram_bytes));
  Stopwatch watch;
  Fd vm = TRY(create_vm(*config.device));
  const int64_t vm_us = watch.lap_us();
  std::unique_ptr<Machine> machine(new Machine(TRY(GuestRam::create(layout))));
  machine->vm_ = std::move(vm);
  machine->timings_.vm_us = vm_us;
  TRY(machine->add_memory_slots());
  machine->timings_.memory_us = watch.lap_us();
  TRY(load(config, layout, machine->ram_.memory()));
  machine->timings_.load_us = watch.lap_us();
  TRY(machine->add_devices(config.queue_counts));
  machine->timings_.devices_us = watch.lap_us();
  TRY(machine->add_vcpus(config));
  machine->timings_.vcpus_us = watch.lap_us();
  return machine;
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
  serial_interrupt_ = TRY(add_interrupt(vm_, kSerialGsi));
  for (uint32_t i = 0; i < queue_counts.size(); ++i) {
    const MmioWindow window = virtio_window(i);
    DeviceLines lines;
    lines.interrupt = TRY(add_interrupt(vm_, window.gsi));
    for (uint16_t queue = 0; queue < queue_counts[i]; ++queue) {
      lines.notified.push_back(TRY(add_notification(vm_, window.addr, queue)));
    }
    devices_.push_back(std::move(lines));
  }
  return {};
}

Result<> Machine::add_vcpus(const MachineConfig& config) {
  const Fd& device = *config.device;
  const auto supported = TRY(supported_cpuid(device));
  const int run_area_bytes = TRY(kvm_ioctl(device, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", 0UL));
  const VcpuSetup setup = {.supported = supported,
                           .count = config.vcpu_count,
                           .entry_addr = config.kernel->entry_addr(),
                           .run_area_bytes = static_cast<size_t>(run_area_bytes)};
  for (uint32_t index = 0; index < config.vcpu_count; ++index) {
    vcpus_.push_back(TRY(Vcpu::create(vm_, index, setup)));
  }
  return {};
}

}  // namespace lambdo::kvm
