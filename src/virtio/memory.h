#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/error.h"

/// Access to the memory of a running guest. The guest changes it at any moment, so a value is loaded from it
/// once and only the copy is looked at.
namespace lambdo::virtio {

static_assert(std::endian::native == std::endian::little,
              "virtio's little-endian fields are used as they are");

/// RAM from `guest_addr` on, mapped at `bytes`.
struct MemoryRegion {
  uint64_t guest_addr;
  std::span<std::byte> bytes;
};

/// One load that the compiler cannot repeat. `from` is aligned to T.
template <std::unsigned_integral T>
T load(const std::byte* from, std::memory_order order = std::memory_order_relaxed) {
  // atomic_ref of const arrives with C++26; nothing is written here.
  return std::atomic_ref<T>(*reinterpret_cast<T*>(const_cast<std::byte*>(from))).load(order);
}

template <std::unsigned_integral T>
void store(std::byte* to, T value, std::memory_order order = std::memory_order_relaxed) {
  std::atomic_ref<T>(*reinterpret_cast<T*>(to)).store(value, order);
}

/// Copies out of and into guest memory, each byte touched exactly once and in no particular order. For
/// headers and descriptors; where the other side writes at the same time, the result may be torn.
void copy_from_guest(std::span<std::byte> to, const std::byte* from);
void copy_to_guest(std::byte* to, std::span<const std::byte> from);

/// The guest's RAM: up to kMaxRegions ordered regions. Owns nothing: the mappings outlive it.
class GuestMemory {
 public:
  static constexpr size_t kMaxRegions = 4;
  /// Of both addresses of a region, so that what is aligned for the guest is aligned for us.
  static constexpr uint64_t kRegionAlignment = 4096;

  /// No memory at all; every access fails.
  GuestMemory() = default;
  /// Regions in ascending order, apart from each other, none empty (invalid_argument).
  static Result<GuestMemory> create(std::span<const MemoryRegion> regions);

  [[nodiscard]] std::span<const MemoryRegion> regions() const { return {regions_.data(), count_}; }

  /// The host's view of `len_bytes` from `guest_addr` on. They must lie in one region (invalid_argument).
  [[nodiscard]] Result<std::span<std::byte>> slice(uint64_t guest_addr, uint64_t len_bytes) const;

  /// A copy of the T at `guest_addr`, which need not be aligned.
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] Result<T> read(uint64_t guest_addr) const {
    const auto from = TRY(slice(guest_addr, sizeof(T)));
    std::array<std::byte, sizeof(T)> copy;
    copy_from_guest(copy, from.data());
    return std::bit_cast<T>(copy);
  }

  template <typename T>
    requires std::is_trivially_copyable_v<T>
  Result<> write(uint64_t guest_addr, const T& value) const {
    const auto to = TRY(slice(guest_addr, sizeof(T)));
    copy_to_guest(to.data(), std::as_bytes(std::span(&value, 1)));
    return {};
  }

  /// Atomic accesses; invalid_argument also where `guest_addr` is not aligned to T.
  template <std::unsigned_integral T>
  [[nodiscard]] Result<T> load_acquire(uint64_t guest_addr) const {
    return load<T>(TRY(aligned_slice(guest_addr, sizeof(T))).data(), std::memory_order_acquire);
  }
  template <std::unsigned_integral T>
  Result<> store_release(uint64_t guest_addr, T value) const {
    store<T>(TRY(aligned_slice(guest_addr, sizeof(T))).data(), value, std::memory_order_release);
    return {};
  }

 private:
  [[nodiscard]] Result<std::span<std::byte>> aligned_slice(uint64_t guest_addr, size_t len_bytes) const;

  std::array<MemoryRegion, kMaxRegions> regions_{};
  size_t count_ = 0;
};

}  // namespace lambdo::virtio
