#include "kvm/boot/cpu_state.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "fixture.h"

#include "test.h"

namespace lambdo::kvm {

namespace {

/// What the CPU would translate `addr` to, by the tables at cr3; ~0 where a level is not present.
uint64_t translate(const virtio::GuestMemory& memory, uint64_t cr3, uint64_t addr) {
  constexpr uint64_t kAddressMask = 0x000ffffffffff000;
  uint64_t table = cr3;
  for (unsigned shift = 39; shift >= 21; shift -= 9) {
    const auto entry = memory.read<uint64_t>(table + ((addr >> shift) & 0x1ff) * 8).value();
    if ((entry & 3) != 3) return ~uint64_t{0};
    if (shift == 21) return (entry & 0x80) != 0 ? (entry & kAddressMask) + (addr & 0x1fffff) : ~uint64_t{0};
    table = entry & kAddressMask;
  }
  return ~uint64_t{0};
}

}  // namespace

TEST_CASE("the boot page tables map the first 4 GiB to themselves and nothing else") {
  const fixture::Ram ram(64 * kMiB);
  REQUIRE(write_boot_tables(ram.memory).has_value());
  kvm_sregs sregs{};
  set_boot_sregs(sregs);
  for (const uint64_t addr :
       {uint64_t{0}, kZeroPageAddr, kAcpiAddr, 16 * kMiB, kGiB - 1, kGiB, 3 * kGiB + 12345, 4 * kGiB - 1}) {
    CHECK_EQ(translate(ram.memory, sregs.cr3, addr), addr);
  }
  CHECK_EQ(translate(ram.memory, sregs.cr3, 4 * kGiB), ~uint64_t{0});
  CHECK_EQ(translate(ram.memory, sregs.cr3, 512 * kGiB), ~uint64_t{0});
  CHECK(ram.read(kZeroPageAddr, 4096) == fixture::Bytes(4096));
}

TEST_CASE("the segments in the registers are those of the GDT, at the selectors that Linux expects") {
  const fixture::Ram ram(64 * kMiB);
  REQUIRE(write_boot_tables(ram.memory).has_value());
  kvm_sregs sregs{};
  sregs.apic_base = 0xfee00900;
  set_boot_sregs(sregs);
  CHECK_EQ(sregs.apic_base, 0xfee00900);
  CHECK_EQ(sregs.cs.selector, 0x10);
  CHECK_EQ(sregs.ds.selector, 0x18);
  CHECK_EQ(sregs.ss.selector, 0x18);
  CHECK_EQ(sregs.gdt.base, kGdtAddr);
  const auto entry = [&](uint16_t selector) {
    REQUIRE_LT(selector, sregs.gdt.limit);
    return ram.memory.read<uint64_t>(sregs.gdt.base + selector).value();
  };
  CHECK_EQ(entry(0), 0);
  CHECK_EQ(entry(sregs.cs.selector), 0x00af9b000000ffff);
  CHECK_EQ(entry(sregs.ds.selector), 0x00cf93000000ffff);
  CHECK_EQ(entry(sregs.tr.selector), 0x00008b0000000067);
}

TEST_CASE("the boot CPU enters in long mode with interrupts off and the zero page in rsi") {
  kvm_sregs sregs{};
  set_boot_sregs(sregs);
  CHECK_EQ(sregs.cr0 & 0x80000001, 0x80000001);
  CHECK_EQ(sregs.cr4 & 0x20, 0x20);
  CHECK_EQ(sregs.efer, 0x500);
  CHECK_EQ(sregs.cs.l, 1);
  CHECK_EQ(sregs.cs.db, 0);
  const kvm_regs regs = boot_regs(0x1000000);
  CHECK_EQ(regs.rip, 0x1000000);
  CHECK_EQ(regs.rsi, kZeroPageAddr);
  CHECK_EQ(regs.rflags & 0x200, 0);
  CHECK_EQ(regs.rsp % 16, 0);
  CHECK_EQ(boot_fpu().fcw, 0x37f);
  CHECK_EQ(boot_fpu().mxcsr, 0x1f80);
}

TEST_CASE("no MSR is set twice, and memory is write-back") {
  auto msrs = boot_msrs();
  std::ranges::sort(msrs, {}, &kvm_msr_entry::index);
  const auto twice = std::ranges::adjacent_find(msrs, {}, &kvm_msr_entry::index);
  CHECK(twice == msrs.end());
  const auto type = std::ranges::find(msrs, 0x2ffU, &kvm_msr_entry::index);
  REQUIRE(type != msrs.end());
  CHECK_EQ(type->data, 0x806);
}

TEST_CASE("the local APIC takes NMIs on LINT1 and nothing on LINT0") {
  kvm_lapic_state lapic{};
  lapic.regs[0x351] = 0x7;  // as KVM leaves it: external interrupts, open
  set_boot_lapic(lapic);
  uint32_t lint0 = 0;
  uint32_t lint1 = 0;
  std::memcpy(&lint0, &lapic.regs[0x350], 4);
  std::memcpy(&lint1, &lapic.regs[0x360], 4);
  CHECK_EQ(lint0, 0x10000);
  CHECK_EQ(lint1, 0x400);
}

}  // namespace lambdo::kvm
