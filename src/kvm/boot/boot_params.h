#pragma once

#include <optional>
#include <string_view>

#include "base/error.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

/// Writes the zero page (Linux Documentation/arch/x86/zero-page.rst) at kZeroPageAddr and the command line,
/// with its NUL, at kCommandLineAddr: the e820 table of `ram`, the initrd's place and the RSDP's (kAcpiAddr).
/// invalid_argument where the command line is longer than kMaxCommandLineBytes.
Result<> write_boot_params(const virtio::GuestMemory& memory, const RamLayout& ram,
                           std::string_view command_line, const std::optional<AddressRange>& initrd);

}  // namespace lambdo::kvm
