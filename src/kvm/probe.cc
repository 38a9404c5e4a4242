#include "kvm/probe.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/mapping.h"
#include "base/syscalls.h"

namespace lambdo::kvm {

namespace {

constexpr int kPauses = 20;
constexpr int kLoopsPerPart = 5000;
constexpr uint16_t kPausePort = 0x10;

// The guest's memory: one page each for the three levels of page tables, then the code.
constexpr uint64_t kPml4Addr = 0x1000;
constexpr uint64_t kPdptAddr = 0x2000;
constexpr uint64_t kPageDirectoryAddr = 0x3000;
constexpr uint64_t kCodeAddr = 0x4000;
constexpr size_t kMemoryBytes = 0x5000;

// Counts 5,000 down and pauses by an OUT, which leaves KVM_RUN, for ever; 20 pauses are 100,000 rounds.
constexpr std::array<uint8_t, 11> kCode = {
    0xb9, 0x88,       0x13, 0x00, 0x00,  // start: mov ecx, 5000
    0xff, 0xc9,                          // count: dec ecx
    0x75, 0xfc,                          //        jnz count
    0xe6, kPausePort,                    //        out kPausePort, al
};
constexpr std::array<uint8_t, 2> kCodeEnd = {0xeb, 0xf3};  // jmp start

struct Guest {
  Fd vm;
  Fd vcpu;
  Mapping memory;
  Mapping run_area;

  [[nodiscard]] kvm_run& run() const { return *reinterpret_cast<kvm_run*>(run_area.bytes().data()); }
};

template <typename Argument>
Result<int> call(const Fd& fd, unsigned long request, const char* name, Argument argument) {
  const int result = ::ioctl(fd.get(), request, argument);
  if (result < 0) return fail_errno(name);
  return result;
}

void store(std::span<std::byte> memory, uint64_t addr, uint64_t value) {
  std::memcpy(memory.subspan(addr).data(), &value, sizeof value);
}

void write_memory(std::span<std::byte> memory) {
  // Intel SDM 3A, 4.5: present and writable; bit 7 makes the last level one page of 2 MiB, mapped to itself.
  constexpr uint64_t kPresentWritable = 0x3;
  constexpr uint64_t kLargePage = 0x80;
  store(memory, kPml4Addr, kPdptAddr | kPresentWritable);
  store(memory, kPdptAddr, kPageDirectoryAddr | kPresentWritable);
  store(memory, kPageDirectoryAddr, kPresentWritable | kLargePage);
  std::memcpy(memory.subspan(kCodeAddr).data(), kCode.data(), kCode.size());
  std::memcpy(memory.subspan(kCodeAddr + kCode.size()).data(), kCodeEnd.data(), kCodeEnd.size());
}

kvm_segment flat_segment(uint16_t selector, bool is_code) {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = is_code ? 0xb : 0x3;  // accessed, readable or writable
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = is_code ? 1 : 0;
  segment.db = is_code ? 0 : 1;
  return segment;
}

/// The state of a 64-bit kernel at kCodeAddr (Intel SDM 3A, 9.8.5: what long mode needs).
Result<> enter_long_mode(const Fd& vcpu) {
  kvm_sregs special{};
  TRY(call(vcpu, KVM_GET_SREGS, "KVM_GET_SREGS", &special));
  special.cr0 = 0x80000033;  // paging, numeric error, extension type, monitor, protected mode
  special.cr3 = kPml4Addr;
  special.cr4 = 0x20;    // PAE
  special.efer = 0x500;  // long mode enabled and active
  special.cs = flat_segment(0x8, true);
  special.ds = special.es = special.fs = special.gs = special.ss = flat_segment(0x10, false);
  TRY(call(vcpu, KVM_SET_SREGS, "KVM_SET_SREGS", &special));
  kvm_regs registers{};
  registers.rip = kCodeAddr;
  registers.rflags = 0x2;  // the bit that is always set
  TRY(call(vcpu, KVM_SET_REGS, "KVM_SET_REGS", &registers));
  return {};
}

Result<Guest> create_guest(const Fd& device) {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  Guest guest;
  guest.vm = Fd(TRY(call(device, KVM_CREATE_VM, "KVM_CREATE_VM", 0UL)));
  // Intel without "unrestricted guest" needs three pages of its own, anywhere below 4 GiB.
  TRY(call(guest.vm, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", 0xfffbd000UL));
  guest.memory = TRY(Mapping::create(kMemoryBytes, kProtection, MAP_PRIVATE | MAP_ANONYMOUS));
  write_memory(guest.memory.bytes());
  kvm_userspace_memory_region region{};
  region.memory_size = kMemoryBytes;
  region.userspace_addr = reinterpret_cast<uint64_t>(guest.memory.bytes().data());
  TRY(call(guest.vm, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region));
  guest.vcpu = Fd(TRY(call(guest.vm, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", 0UL)));
  const int run_bytes = TRY(call(device, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", 0UL));
  guest.run_area =
      TRY(Mapping::create(static_cast<size_t>(run_bytes), kProtection, MAP_SHARED, guest.vcpu.get()));
  TRY(enter_long_mode(guest.vcpu));
  return guest;
}

Result<> run_to_exit(const Guest& guest) {
  while (::ioctl(guest.vcpu.get(), KVM_RUN, 0) < 0) {
    if (errno != EINTR) return fail_errno("KVM_RUN");
  }
  return {};
}

bool paused(const kvm_run& run) {
  return run.exit_reason == KVM_EXIT_IO && run.io.direction == KVM_EXIT_IO_OUT && run.io.port == kPausePort;
}

std::string milliseconds(int64_t duration_us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f ms", static_cast<double>(duration_us) / 1000);
  return text;
}

void judge_duration(ProbeReport& report, int64_t max_usable_us) {
  const std::string loops = "100,000 loops in " + milliseconds(report.duration_us);
  if (report.duration_us <= max_usable_us) {
    report.status = ProbeStatus::usable;
    report.reason = "runs guest kernel code at full speed (" + loops + ")";
    return;
  }
  report.status = ProbeStatus::too_slow;
  report.reason =
      "emulates guest kernel code (" + loops + ", usable up to " + milliseconds(max_usable_us) + ")";
  report.remedy =
      "use a machine with hardware virtualization, or a host that offers real nested virtualization";
}

Result<> time_guest(const Guest& guest, const ProbeOptions& options, ProbeReport& report) {
  std::vector<int64_t> parts_ns;
  int64_t total_ns = 0;
  while (parts_ns.size() < kPauses && (parts_ns.empty() || total_ns < options.max_run_us * 1000)) {
    const int64_t start_ns = sys::monotonic_ns();
    TRY(run_to_exit(guest));
    parts_ns.push_back(sys::monotonic_ns() - start_ns);
    total_ns += parts_ns.back();
    if (paused(guest.run())) continue;
    report.status = ProbeStatus::broken;
    report.reason = "the probe's guest stopped for reason " + std::to_string(guest.run().exit_reason) +
                    " instead of running its loop";
    report.remedy = "look at dmesg for messages of kvm";
    return {};
  }
  std::ranges::sort(parts_ns);
  report.loops = static_cast<int>(parts_ns.size()) * kLoopsPerPart;
  report.duration_us = parts_ns[parts_ns.size() / 2] * kPauses / 1000;
  judge_duration(report, options.max_usable_us);
  return {};
}

ProbeReport unsuitable(ProbeStatus status, std::string reason, std::string remedy) {
  ProbeReport report;
  report.status = status;
  report.reason = std::move(reason);
  report.remedy = std::move(remedy);
  return report;
}

}  // namespace

ProbeReport report_of_open_error(int os_errno, const std::string& device) {
  switch (os_errno) {
    case ENOENT:
      return unsuitable(
          ProbeStatus::absent, device + " does not exist",
          "load kvm_intel or kvm_amd (modprobe), and switch virtualization on in the firmware or the "
          "hypervisor above");
    case ENODEV:
    case ENXIO:
      return unsuitable(ProbeStatus::absent, device + " has no driver behind it",
                        "load kvm_intel or kvm_amd (modprobe) on the host");
    case EACCES:
    case EPERM:
      return unsuitable(
          ProbeStatus::not_permitted, "this user may not open " + device,
          "add the user to the group kvm (usermod -aG kvm USER), or allow the device in the container");
    default:
      return unsuitable(ProbeStatus::broken, errno_error(os_errno, "open " + device).message,
                        "look at dmesg for messages of kvm");
  }
}

Result<ProbeReport> probe_kvm(const ProbeOptions& options) {
  const auto device = sys::open(options.device, O_RDWR);
  if (!device) return report_of_open_error(device.error().os_errno, options.device);
  const int version = ::ioctl(device->get(), KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    const std::string found = version < 0 ? "is not KVM" : "has API version " + std::to_string(version);
    ProbeReport report =
        unsuitable(ProbeStatus::wrong_version,
                   options.device + " " + found + ", needed is version " + std::to_string(KVM_API_VERSION),
                   "use Linux 6.1 or newer with its own kvm modules");
    report.api_version = std::max(version, 0);
    return report;
  }
  ProbeReport report;
  report.api_version = version;
  const Guest guest = TRY(create_guest(*device));
  TRY(time_guest(guest, options, report));
  return report;
}

}  // namespace lambdo::kvm
