#include "virtio/memory.h"

#include <cstring>
#include <limits>
#include <string>

#include "base/text.h"

namespace lambdo::virtio {

namespace {

template <typename Word>
bool is_aligned(const std::byte* address) {
  return reinterpret_cast<uintptr_t>(address) % sizeof(Word) == 0;
}

}  // namespace

void copy_from_guest(std::span<std::byte> to, const std::byte* from) {
  const auto load_byte = [to, from](size_t at) { to[at] = static_cast<std::byte>(load<uint8_t>(from + at)); };
  size_t at = 0;
  // Linux puts the IP header on a boundary, and so the frame beside one.
  for (; at < to.size() && !is_aligned<uint64_t>(from + at); ++at) load_byte(at);
  for (; to.size() - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
    const uint64_t word = load<uint64_t>(from + at);
    std::memcpy(&to[at], &word, sizeof word);
  }
  for (; at < to.size(); ++at) load_byte(at);
}

void copy_to_guest(std::byte* to, std::span<const std::byte> from) {
  size_t at = 0;
  if (is_aligned<uint64_t>(to)) {
    for (; from.size() - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, &from[at], sizeof word);
      store(to + at, word);
    }
  }
  for (; at < from.size(); ++at) store(to + at, std::to_integer<uint8_t>(from[at]));
}

Result<GuestMemory> GuestMemory::create(std::span<const MemoryRegion> regions) {
  if (regions.empty() || regions.size() > kMaxRegions) {
    return fail(Code::invalid_argument, "guest memory has " + std::to_string(regions.size()) +
                                            " regions, not 1 to " + std::to_string(kMaxRegions));
  }
  GuestMemory memory;
  uint64_t end = 0;
  for (const MemoryRegion& region : regions) {
    const auto bad = [&](const char* what) {
      return fail(Code::invalid_argument,
                  "guest memory region at " + hex(region.guest_addr) + ": " + std::string(what));
    };
    if (region.bytes.empty()) return bad("is empty");
    if (region.guest_addr % kRegionAlignment != 0 ||
        reinterpret_cast<uintptr_t>(region.bytes.data()) % kRegionAlignment != 0) {
      return bad("does not start at a page");
    }
    if (region.bytes.size() > std::numeric_limits<uint64_t>::max() - region.guest_addr) return bad("wraps");
    if (region.guest_addr < end) return bad("overlaps or precedes the one before");
    end = region.guest_addr + region.bytes.size();
    memory.regions_[memory.count_++] = region;
  }
  return memory;
}

Result<std::span<std::byte>> GuestMemory::slice(uint64_t guest_addr, uint64_t len_bytes) const {
  for (const MemoryRegion& region : regions()) {
    if (guest_addr < region.guest_addr) continue;
    const uint64_t offset = guest_addr - region.guest_addr;
    if (offset > region.bytes.size() || len_bytes > region.bytes.size() - offset) continue;
    return region.bytes.subspan(offset, len_bytes);
  }
  return fail(Code::invalid_argument, std::to_string(len_bytes) + " bytes at guest address " +
                                          hex(guest_addr) + " are not in one region of its memory");
}

Result<std::span<std::byte>> GuestMemory::aligned_slice(uint64_t guest_addr, size_t len_bytes) const {
  if (guest_addr % len_bytes != 0) {
    return fail(Code::invalid_argument,
                "guest address " + hex(guest_addr) + " is not aligned to " + std::to_string(len_bytes));
  }
  return slice(guest_addr, len_bytes);
}

}  // namespace lambdo::virtio
