#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "kvm/kvm_api.h"
#include "virtio/memory.h"

/// The state in which the boot CPU enters a kernel at startup_64 (Linux Documentation/arch/x86/boot.rst,
/// 64-bit boot protocol): long mode, memory identity-mapped, flat segments, interrupts off, %rsi at the zero
/// page. The other CPUs need none of it: they stay as KVM creates them and wait for the kernel's INIT and
/// SIPI.
namespace lambdo::kvm {

/// Writes the GDT and the page tables for the first 4 GiB, in 2 MiB pages, which every CPU has.
Result<> write_boot_tables(const virtio::GuestMemory& memory);

/// Changes `sregs`, as KVM_GET_SREGS gave it, to the boot state; the APIC base stays.
void set_boot_sregs(kvm_sregs& sregs);
/// For KVM_SET_REGS.
kvm_regs boot_regs(uint64_t entry_addr);
/// For KVM_SET_FPU: as after FNINIT, all SSE exceptions masked.
kvm_fpu boot_fpu();
/// For KVM_SET_MSRS, on every CPU: system call MSRs zero, memory write-back by default (MTRR), fast strings.
std::vector<kvm_msr_entry> boot_msrs();
/// Changes `lapic`, as KVM_GET_LAPIC gave it: LINT1 is NMI, and LINT0 masked, because KVM leaves it open for
/// an 8259 on the boot CPU that a hardware-reduced guest never sets up.
void set_boot_lapic(kvm_lapic_state& lapic);

}  // namespace lambdo::kvm
