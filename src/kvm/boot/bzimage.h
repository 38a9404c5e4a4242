#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace lambdo::kvm {

/// A bzImage's parts (Linux Documentation/arch/x86/boot.rst, protocol 2.12 and newer).
struct BzImage {
  std::span<const std::byte> payload;  ///< compressed, with its uncompressed size as last four bytes
  std::string version;                 ///< the kernel's release, such as "6.1.0-56-cloud-amd64"; may be empty
  uint64_t initrd_end = 0;             ///< an initrd must end at or before this address
};

/// Whether `bytes` carry the setup header's magic numbers.
bool is_bzimage(std::span<const std::byte> bytes);

/// `bytes` outlive the result. invalid_argument: truncated, too old, or not for 64-bit CPUs.
Result<BzImage> parse_bzimage(std::span<const std::byte> bytes);

/// The vmlinux within, of at most `max_bytes`. Its size must be the one that the payload's end gives.
Result<std::vector<std::byte>> unpack_payload(const BzImage& image, size_t max_bytes);

}  // namespace lambdo::kvm
