#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

inline constexpr size_t kMaxKernelFileBytes = 256 * kMiB;
inline constexpr size_t kMaxKernelBytes = 256 * kMiB;  ///< uncompressed

/// One part of a kernel: its bytes, followed by zeros up to `range.len_bytes`.
struct KernelSegment {
  AddressRange range;
  size_t file_offset = 0;
  size_t file_bytes = 0;
};

/// A kernel ready to be copied into guests; immutable, so that one serves all guests. It is loaded at its own
/// physical addresses, where it needs no relocation.
class KernelImage {
 public:
  /// Of an uncompressed vmlinux. Guest-physical ranges are whole, apart from each other and not below 1 MiB,
  /// and the entry lies in one (invalid_argument).
  static Result<KernelImage> from_vmlinux(std::vector<std::byte> vmlinux);

  /// Guest-physical address of startup_64.
  [[nodiscard]] uint64_t entry_addr() const { return entry_addr_; }
  /// XEN_ELFNOTE_PHYS32_ENTRY, where the kernel has one.
  [[nodiscard]] std::optional<uint64_t> pvh_entry_addr() const { return pvh_entry_addr_; }
  /// Ascending.
  [[nodiscard]] std::span<const KernelSegment> segments() const { return segments_; }
  [[nodiscard]] uint64_t end_addr() const { return segments_.back().range.end(); }
  [[nodiscard]] std::span<const std::byte> content(const KernelSegment& segment) const {
    return std::span(bytes_).subspan(segment.file_offset, segment.file_bytes);
  }
  /// The release, such as "6.1.0-56-cloud-amd64"; empty where it could not be found.
  [[nodiscard]] const std::string& version() const { return version_; }
  /// What place_initrd() takes as its limit.
  [[nodiscard]] uint64_t initrd_end() const { return initrd_end_; }

 private:
  friend Result<KernelImage> load_kernel(std::vector<std::byte> file);

  std::vector<std::byte> bytes_;
  uint64_t entry_addr_ = 0;
  std::optional<uint64_t> pvh_entry_addr_;
  std::vector<KernelSegment> segments_;
  std::string version_;
  uint64_t initrd_end_ = kMmioHoleAddr;
};

/// A kernel from an ELF vmlinux or a bzImage, which it unpacks (30 to 500 ms, by compression): load once,
/// keep. Blocks. Errors name the problem, and the first overload the file.
Result<KernelImage> load_kernel(const std::string& path);
Result<KernelImage> load_kernel(std::vector<std::byte> file);

/// Copies the kernel into fresh (zeroed) guest memory. invalid_argument where a part of it is outside the
/// RAM that `ram` describes.
Result<> write_kernel(const KernelImage& kernel, const RamLayout& ram, const virtio::GuestMemory& memory);

}  // namespace lambdo::kvm
