#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "kvm/boot/acpi.h"
#include "kvm/boot/boot_archive.h"
#include "kvm/boot/kernel_image.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

/// What a machine boots: what a boot loader would read from a disk.
struct BootSource {
  std::shared_ptr<const KernelImage> kernel;
  std::shared_ptr<const BootArchive> initrd;  ///< may be null
  std::optional<BootToken> token;             ///< for the initrd
  std::string command_line;
};

/// Fills fresh (zeroed) guest memory with everything that a kernel finds when it starts: itself, the initrd,
/// its boot parameters, the boot CPU's descriptor and page tables, and the ACPI tables of `machine`.
/// invalid_argument: what cannot be, such as an initrd larger than memory.
Result<> write_boot_source(const BootSource& source, const AcpiMachine& machine, const RamLayout& layout,
                           const virtio::GuestMemory& memory);

}  // namespace lambdo::kvm
