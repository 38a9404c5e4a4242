#include "kvm/memory_layout.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"

namespace lambdo::kvm {

MmioWindow virtio_window(uint32_t index) {
  CHECK(index < kMaxVirtioDevices);
  return {.addr = kVirtioMmioAddr + index * kVirtioMmioBytes, .gsi = kFirstVirtioGsi + index};
}

Result<RamLayout> RamLayout::create(uint64_t ram_bytes) {
  if (ram_bytes < kMinRamBytes || ram_bytes > kMaxRamBytes || ram_bytes % kMiB != 0) {
    return fail(Code::invalid_argument, "guest memory of " + std::to_string(ram_bytes) +
                                            " bytes: must be whole MiB from 64 MiB to 16384 MiB");
  }
  RamLayout layout;
  const uint64_t below_hole = std::min(ram_bytes, kMmioHoleAddr);
  layout.ranges_[layout.count_++] = {.addr = 0, .len_bytes = below_hole};
  if (ram_bytes > below_hole) {
    layout.ranges_[layout.count_++] = {.addr = kMmioHoleEnd, .len_bytes = ram_bytes - below_hole};
  }
  return layout;
}

uint64_t RamLayout::ram_bytes() const {
  uint64_t sum = 0;
  for (const AddressRange& range : ranges()) sum += range.len_bytes;
  return sum;
}

bool RamLayout::loadable(const AddressRange& range) const {
  return range.addr >= kHighRamAddr && std::ranges::any_of(ranges(), [&](const AddressRange& ram) {
           return range.addr >= ram.addr && range.len_bytes <= ram.len_bytes &&
                  range.addr - ram.addr <= ram.len_bytes - range.len_bytes;
         });
}

std::vector<E820Entry> RamLayout::e820() const {
  std::vector<E820Entry> entries = {
      {{.addr = 0, .len_bytes = kLowRamEnd}, E820Type::ram},
      {{.addr = kLowRamEnd, .len_bytes = kEbdaEnd - kLowRamEnd}, E820Type::reserved},
      {{.addr = kAcpiAddr, .len_bytes = kHighRamAddr - kAcpiAddr}, E820Type::acpi},
      {{.addr = kHighRamAddr, .len_bytes = ranges_[0].end() - kHighRamAddr}, E820Type::ram},
  };
  if (count_ > 1) entries.push_back({ranges_[1], E820Type::ram});
  return entries;
}

Result<AddressRange> place_initrd(const RamLayout& ram, uint64_t kernel_end, uint64_t initrd_bytes,
                                  uint64_t addr_limit) {
  const uint64_t end = std::min(ram.ranges()[0].end(), addr_limit) & ~(kPageBytes - 1);
  const uint64_t first = (std::max(kernel_end, kHighRamAddr) + kPageBytes - 1) & ~(kPageBytes - 1);
  if (first > end || initrd_bytes > end - first) {
    return fail(Code::invalid_argument, "an initramfs of " + in_mib(initrd_bytes) + " does not fit into " +
                                            in_mib(ram.ram_bytes()) +
                                            " of guest memory beside a kernel that reaches to " +
                                            in_mib(kernel_end) + ": give the guest more memory");
  }
  const uint64_t addr = (end - initrd_bytes) & ~(kPageBytes - 1);
  return AddressRange{.addr = addr, .len_bytes = initrd_bytes};
}

std::string in_mib(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes) / static_cast<double>(kMiB));
  return text;
}

}  // namespace lambdo::kvm
