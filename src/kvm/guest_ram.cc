#include "kvm/guest_ram.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "base/syscalls.h"

namespace lambdo::kvm {

static Result<Fd> create_file(uint64_t len_bytes) {
  Fd file = TRY(sys::memfd("lambdo-guest", MFD_ALLOW_SEALING));
  if (::ftruncate(file.get(), static_cast<off_t>(len_bytes)) < 0) return fail_errno("ftruncate guest memory");
  // Nobody who may get the descriptor later can pull pages away from under the mapping.
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) < 0) return fail_errno("sealing guest memory");
  return file;
}

Result<GuestRam> GuestRam::create(const RamLayout& layout) {
  GuestRam ram;
  const uint64_t ram_bytes = layout.ram_bytes();
  ram.file_ = TRY(create_file(ram_bytes));
  ram.mapping_ =
      TRY(Mapping::create(ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram.file_.get()));
  const auto bytes = ram.mapping_.bytes();
  // Advice, where a refusal changes nothing: huge pages where the system allows them for shared memory, no
  // guest's memory in our core dumps, and none in the page tables of processes that we fork.
  for (const int advice : {MADV_HUGEPAGE, MADV_DONTDUMP, MADV_DONTFORK}) {
    ::madvise(bytes.data(), bytes.size(), advice);
  }
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
