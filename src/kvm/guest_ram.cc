#include "kvm/guest_ram.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include <vector>

namespace lambdo::kvm {

namespace {

/// What the mapping has before it starts at a multiple of this.
constexpr uint64_t kHugePageBytes = 2 * kMiB;

// Advice, where a refusal changes nothing.
void advise(std::span<std::byte> bytes) {
  // A huge page is one fault and one step less in each of the processor's nested page walks. Memory of files,
  // memfds among them, gets none by default (shmem_enabled=never), which is why this is anonymous.
  ::madvise(bytes.data(), bytes.size(), MADV_HUGEPAGE);
  // No guest's memory in our core dumps, and none in the page tables of the processes that we fork.
  ::madvise(bytes.data(), bytes.size(), MADV_DONTDUMP);
  ::madvise(bytes.data(), bytes.size(), MADV_DONTFORK);
  ::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, bytes.data(), bytes.size(), "lambdo-guest");
}

}  // namespace

Result<GuestRam> GuestRam::create(const RamLayout& layout) {
  GuestRam ram;
  const uint64_t ram_bytes = layout.ram_bytes();
  ram.mapping_ = TRY(Mapping::create(ram_bytes + kHugePageBytes, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE));
  // KVM maps a huge page where guest and host addresses agree on their low bits.
  const auto start = reinterpret_cast<uintptr_t>(ram.mapping_.bytes().data());
  const uint64_t skip = (kHugePageBytes - start % kHugePageBytes) % kHugePageBytes;
  const auto bytes = ram.mapping_.bytes().subspan(skip, ram_bytes);
  advise(bytes);
  std::vector<virtio::MemoryRegion> regions;
  uint64_t offset = 0;
  for (const AddressRange& range : layout.ranges()) {
    regions.push_back({.guest_addr = range.addr, .bytes = bytes.subspan(offset, range.len_bytes)});
    offset += range.len_bytes;
  }
  ram.memory_ = TRY(virtio::GuestMemory::create(regions));
  return ram;
}

}  // namespace lambdo::kvm
