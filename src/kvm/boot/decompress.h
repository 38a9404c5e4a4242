#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace lambdo::kvm {

/// What the kernel's build and distributions compress kernels, modules and initramfs with.
enum class Compression : uint8_t { gzip, bzip2, lzma, xz, lzo, lz4, zstd };

std::string_view compression_name(Compression compression);

/// By the first bytes (Linux lib/decompress.c); nullopt where they are of none. `lz4` is the legacy frame and
/// the standard one.
std::optional<Compression> detect_compression(std::span<const std::byte> bytes);

/// The whole content of one compressed stream. Blocks; meant for a thread that may.
/// invalid_argument: the data is damaged or ends early. payload_too_large: more than `max_bytes`.
/// not_implemented: lzo, which libarchive leaves to an external program.
Result<std::vector<std::byte>> decompress(std::span<const std::byte> bytes, Compression compression,
                                          size_t max_bytes);

}  // namespace lambdo::kvm
