#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

/// What a guest learns about its machine from ACPI. On a hardware-reduced one (ACPI 6.4, 3.11.1) there is no
/// 8259, no PIT, no fixed power hardware: a reset is a write to kResetPort, power off one to
/// kSleepControlPort.
struct AcpiMachine {
  uint32_t vcpu_count = 1;
  std::span<const MmioWindow> virtio_devices;
};

/// RSDP, XSDT, FADT, MADT and DSDT in one piece, made to lie at `addr`, with the RSDP first.
/// invalid_argument: a vCPU count out of range, too many devices, or a window above 4 GiB.
Result<std::vector<std::byte>> build_acpi(const AcpiMachine& machine, uint64_t addr = kAcpiAddr);

/// Builds and writes them at kAcpiAddr.
Result<> write_acpi(const virtio::GuestMemory& memory, const AcpiMachine& machine);

}  // namespace lambdo::kvm
