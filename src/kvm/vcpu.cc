#include "kvm/vcpu.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "kvm/boot/cpu_state.h"
#include "kvm/cpuid.h"
#include "kvm/ioctl.h"
#include "kvm/vcpu_threads.h"

namespace lambdo::kvm {

namespace {

/// KVM's structures that end in a flexible array: a header, then `Entry` by the number.
template <typename Header, typename Entry>
class Flexible {
 public:
  explicit Flexible(std::span<const Entry> entries) : bytes_(sizeof(Header) + entries.size_bytes()) {
    std::memcpy(bytes_.data() + sizeof(Header), entries.data(), entries.size_bytes());
  }
  [[nodiscard]] Header* get() { return reinterpret_cast<Header*>(bytes_.data()); }

 private:
  std::vector<std::byte> bytes_;
};

Result<> set_cpuid(const Fd& vcpu, std::span<const kvm_cpuid_entry2> entries) {
  Flexible<kvm_cpuid2, kvm_cpuid_entry2> cpuid(entries);
  cpuid.get()->nent = static_cast<uint32_t>(entries.size());
  TRY(kvm_ioctl(vcpu, KVM_SET_CPUID2, "KVM_SET_CPUID2", cpuid.get()));
  return {};
}

Result<> set_msrs(const Fd& vcpu, std::span<const kvm_msr_entry> entries) {
  Flexible<kvm_msrs, kvm_msr_entry> msrs(entries);
  msrs.get()->nmsrs = static_cast<uint32_t>(entries.size());
  const int done = TRY(kvm_ioctl(vcpu, KVM_SET_MSRS, "KVM_SET_MSRS", msrs.get()));
  if (static_cast<size_t>(done) == entries.size()) return {};
  return fail(Code::engine_failed,
              "KVM_SET_MSRS: KVM refuses MSR " + hex(entries[static_cast<size_t>(done)].index));
}

/// KVM api.rst, KVM_EXIT_INTERNAL_ERROR.
std::string internal_error_name(uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "an instruction that KVM cannot emulate";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "an exception while another was delivered";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "an exit while an event was delivered";
    default:
      return "internal error " + std::to_string(suberror);
  }
}

VmExit system_event(uint32_t type) {
  switch (type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      return {.end = VmEnd::power_off, .detail = "system event"};
    case KVM_SYSTEM_EVENT_RESET:
      return {.end = VmEnd::reset, .detail = "system event"};
    default:
      return {.end = VmEnd::failed, .detail = "KVM system event " + std::to_string(type)};
  }
}

}  // namespace

Result<std::unique_ptr<Vcpu>> Vcpu::create(const Fd& vm, uint32_t index, const VcpuSetup& setup) {
  Fd fd(TRY(kvm_ioctl(vm, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", static_cast<unsigned long>(index))));
  Mapping run_area = TRY(Mapping::create(setup.run_area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get()));
  std::unique_ptr<Vcpu> vcpu(new Vcpu(index, std::move(fd), std::move(run_area)));
  const auto cpuid = TRY(guest_cpuid(setup.supported, index, setup.count));
  TRY(set_cpuid(vcpu->fd_, cpuid));
  return vcpu;
}

Result<> Vcpu::boot(uint64_t entry_addr) {
  TRY(set_msrs(fd_, boot_msrs()));
  // The other vCPUs stay as KVM creates them.
  if (index_ == 0) TRY(set_boot_registers(entry_addr));
  return {};
}

Result<> Vcpu::set_boot_registers(uint64_t entry_addr) {
  kvm_sregs sregs{};
  TRY(kvm_ioctl(fd_, KVM_GET_SREGS, "KVM_GET_SREGS", &sregs));
  set_boot_sregs(sregs);
  TRY(kvm_ioctl(fd_, KVM_SET_SREGS, "KVM_SET_SREGS", &sregs));
  kvm_regs regs = boot_regs(entry_addr);
  TRY(kvm_ioctl(fd_, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  kvm_fpu fpu = boot_fpu();
  TRY(kvm_ioctl(fd_, KVM_SET_FPU, "KVM_SET_FPU", &fpu));
  kvm_lapic_state lapic{};
  TRY(kvm_ioctl(fd_, KVM_GET_LAPIC, "KVM_GET_LAPIC", &lapic));
  set_boot_lapic(lapic);
  TRY(kvm_ioctl(fd_, KVM_SET_LAPIC, "KVM_SET_LAPIC", &lapic));
  return {};
}

void Vcpu::stop() {
  stopping_.store(true);
  // KVM looks at immediate_exit once, on entry, and the signal ends a KVM_RUN that is past that: whichever
  // of the two the thread meets, it does not run the guest on (KVM api.rst, kvm_run).
  std::atomic_ref(shared().immediate_exit).store(1);
  // While thread_ is set its thread cannot end, and a number that belongs to another one is never hit.
  const std::lock_guard lock(thread_mutex_);
  if (thread_ != 0) CHECK(::tgkill(::getpid(), thread_, VcpuThreads::kick_signal()) == 0);
}

std::optional<VmExit> Vcpu::run(VcpuBus& bus) {
  {
    const std::lock_guard lock(thread_mutex_);
    thread_ = ::gettid();
  }
  auto exit = loop(bus);
  const std::lock_guard lock(thread_mutex_);
  thread_ = 0;
  return exit;
}

std::optional<VmExit> Vcpu::loop(VcpuBus& bus) {
  while (!stopping()) {
    if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) {
      if (auto exit = handle_exit(bus)) return exit;
    } else if (errno != EINTR && errno != EAGAIN) {
      // EAGAIN: a CPU that waited for its SIPI got it.
      return failure(errno_error(errno, "KVM_RUN").message);
    }
  }
  return std::nullopt;
}

std::optional<VmExit> Vcpu::handle_exit(VcpuBus& bus) {
  const kvm_run& run = shared();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      handle_port(bus);
      return std::nullopt;
    case KVM_EXIT_MMIO:
      handle_mmio(bus);
      return std::nullopt;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return std::nullopt;
    case KVM_EXIT_HLT:
      return VmExit{.end = VmEnd::halted, .detail = "vCPU " + std::to_string(index_)};
    case KVM_EXIT_SHUTDOWN:
      return VmExit{.end = VmEnd::triple_fault, .detail = "vCPU " + std::to_string(index_)};
    case KVM_EXIT_SYSTEM_EVENT:
      return system_event(run.system_event.type);
    case KVM_EXIT_FAIL_ENTRY:
      return failure("the processor refuses the guest's state, reason " +
                     hex(run.fail_entry.hardware_entry_failure_reason));
    case KVM_EXIT_INTERNAL_ERROR:
      return failure(internal_error_name(run.internal.suberror));
    default:
      return failure("KVM exit reason " + std::to_string(run.exit_reason));
  }
}

void Vcpu::handle_port(VcpuBus& bus) {
  const kvm_run& run = shared();
  // A string instruction is several accesses to one port (KVM api.rst, KVM_EXIT_IO).
  std::span<std::byte> data = run_area_.bytes().subspan(run.io.data_offset);
  for (uint32_t i = 0; i < run.io.count; ++i) {
    const auto access = data.subspan(size_t{i} * run.io.size, run.io.size);
    if (run.io.direction == KVM_EXIT_IO_OUT) {
      bus.write_port(run.io.port, access);
    } else {
      bus.read_port(run.io.port, access);
    }
  }
}

void Vcpu::handle_mmio(VcpuBus& bus) {
  kvm_run& run = shared();
  const auto data = std::as_writable_bytes(std::span(run.mmio.data)).first(run.mmio.len);
  if (run.mmio.is_write != 0) {
    bus.write_mmio(index_, run.mmio.phys_addr, data);
  } else {
    bus.read_mmio(index_, run.mmio.phys_addr, data);
  }
}

VmExit Vcpu::failure(std::string what) const {
  kvm_regs regs{};
  std::string where;
  if (kvm_ioctl(fd_, KVM_GET_REGS, "KVM_GET_REGS", &regs)) where = ", rip " + hex(regs.rip);
  return {.end = VmEnd::failed, .detail = "vCPU " + std::to_string(index_) + where + ": " + std::move(what)};
}

}  // namespace lambdo::kvm
