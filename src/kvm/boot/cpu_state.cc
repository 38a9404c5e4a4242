#include "kvm/boot/cpu_state.h"

#include <array>
#include <cstring>

#include "kvm/memory_layout.h"

namespace lambdo::kvm {

namespace {

// boot.rst: the kernel expects __BOOT_CS at 0x10 and __BOOT_DS at 0x18. The task register needs a TSS of its
// own.
constexpr uint16_t kCodeSelector = 0x10;
constexpr uint16_t kDataSelector = 0x18;
constexpr uint16_t kTaskSelector = 0x20;

/// Intel SDM 3A, 3.4.5: types of code and data, and 3.5: of a busy 64-bit TSS.
constexpr uint8_t kCodeType = 0xb;
constexpr uint8_t kDataType = 0x3;
constexpr uint8_t kTaskType = 0xb;

kvm_segment code_segment() {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = kCodeSelector;
  segment.type = kCodeType;
  segment.present = segment.s = segment.g = segment.l = 1;
  return segment;
}

kvm_segment data_segment() {
  kvm_segment segment{};
  segment.limit = 0xffffffff;
  segment.selector = kDataSelector;
  segment.type = kDataType;
  segment.present = segment.s = segment.g = segment.db = 1;
  return segment;
}

kvm_segment task_segment() {
  kvm_segment segment{};
  segment.limit = 0x67;
  segment.selector = kTaskSelector;
  segment.type = kTaskType;
  segment.present = 1;
  return segment;
}

/// The descriptor of a segment with base 0 (Intel SDM 3A, figure 3-8). With granularity 1, limits are in
/// pages.
uint64_t descriptor(const kvm_segment& segment) {
  const uint64_t limit = segment.g != 0 ? segment.limit >> 12 : segment.limit;
  return (limit & 0xffff) | (limit & 0xf0000) << 32 | uint64_t{segment.type} << 40 |
         uint64_t{segment.s} << 44 | uint64_t{segment.present} << 47 | uint64_t{segment.l} << 53 |
         uint64_t{segment.db} << 54 | uint64_t{segment.g} << 55;
}

// Entries: null, null, code, data, and the TSS's two.
constexpr size_t kGdtEntries = 6;

constexpr uint64_t kPresentWritable = 0x3;
constexpr uint64_t kLargePage = 0x80;
constexpr size_t kTableEntries = kPageBytes / sizeof(uint64_t);
constexpr uint64_t kDirectories = 4;  // 1 GiB each
using Table = std::array<uint64_t, kTableEntries>;

static_assert(kPageTablesAddr + (2 + kDirectories) * kPageBytes == kZeroPageAddr);

Result<> write_page_tables(const virtio::GuestMemory& memory) {
  constexpr uint64_t kPdptAddr = kPageTablesAddr + kPageBytes;
  constexpr uint64_t kDirectoryAddr = kPdptAddr + kPageBytes;
  Table pml4{};
  pml4[0] = kPdptAddr | kPresentWritable;
  TRY(memory.write(kPageTablesAddr, pml4));
  Table pdpt{};
  for (uint64_t i = 0; i < kDirectories; ++i) {
    pdpt[i] = (kDirectoryAddr + i * kPageBytes) | kPresentWritable;
    Table directory{};
    for (uint64_t j = 0; j < kTableEntries; ++j) {
      directory[j] = (i * kGiB + j * 2 * kMiB) | kPresentWritable | kLargePage;
    }
    TRY(memory.write(kDirectoryAddr + i * kPageBytes, directory));
  }
  return memory.write(kPdptAddr, pdpt);
}

}  // namespace

Result<> write_boot_tables(const virtio::GuestMemory& memory) {
  std::array<uint64_t, kGdtEntries> gdt{};
  gdt[kCodeSelector / 8] = descriptor(code_segment());
  gdt[kDataSelector / 8] = descriptor(data_segment());
  gdt[kTaskSelector / 8] = descriptor(task_segment());
  TRY(memory.write(kGdtAddr, gdt));
  return write_page_tables(memory);
}

void set_boot_sregs(kvm_sregs& sregs) {
  sregs.cs = code_segment();
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data_segment();
  sregs.tr = task_segment();
  sregs.ldt = kvm_segment{};
  sregs.ldt.unusable = 1;
  sregs.gdt = {.base = kGdtAddr, .limit = kGdtEntries * sizeof(uint64_t) - 1};
  // No interrupt table: what faults before the kernel has one is a triple fault, seen as such.
  sregs.idt = {};
  sregs.cr0 = 0x80000033;  // paging, numeric error, extension type, monitor, protected mode
  sregs.cr2 = 0;
  sregs.cr3 = kPageTablesAddr;
  sregs.cr4 = 0x20;    // PAE
  sregs.efer = 0x500;  // long mode enabled and active
}

kvm_regs boot_regs(uint64_t entry_addr) {
  kvm_regs regs{};
  regs.rip = entry_addr;
  regs.rsi = kZeroPageAddr;
  regs.rsp = regs.rbp = kBootStackEnd;
  regs.rflags = 0x2;  // the bit that is always set
  return regs;
}

kvm_fpu boot_fpu() {
  kvm_fpu fpu{};
  fpu.fcw = 0x37f;
  fpu.mxcsr = 0x1f80;
  return fpu;
}

std::vector<kvm_msr_entry> boot_msrs() {
  const auto msr = [](uint32_t index, uint64_t value) {
    return kvm_msr_entry{.index = index, .data = value};
  };
  return {
      msr(0x174, 0),         // IA32_SYSENTER_CS
      msr(0x175, 0),         // IA32_SYSENTER_ESP
      msr(0x176, 0),         // IA32_SYSENTER_EIP
      msr(0xc0000081, 0),    // STAR
      msr(0xc0000082, 0),    // LSTAR
      msr(0xc0000083, 0),    // CSTAR
      msr(0xc0000084, 0),    // SYSCALL_MASK
      msr(0xc0000102, 0),    // KERNEL_GS_BASE
      msr(0x10, 0),          // IA32_TIME_STAMP_COUNTER
      msr(0x1a0, 1),         // IA32_MISC_ENABLE: fast strings
      msr(0x2ff, 0x800 | 6)  // IA32_MTRR_DEF_TYPE: enabled, write-back
  };
}

void set_boot_lapic(kvm_lapic_state& lapic) {
  // Intel SDM 3A, 10.5.1: the local vector table.
  constexpr size_t kLint0 = 0x350;
  constexpr size_t kLint1 = 0x360;
  constexpr uint32_t kMasked = 1 << 16;
  constexpr uint32_t kNmi = 4 << 8;
  std::memcpy(&lapic.regs[kLint0], &kMasked, sizeof kMasked);
  std::memcpy(&lapic.regs[kLint1], &kNmi, sizeof kNmi);
}

}  // namespace lambdo::kvm
