#include "kvm/boot/bzimage.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "kvm/boot/decompress.h"
#include "kvm/memory_layout.h"

namespace lambdo::kvm {

namespace {

constexpr size_t kHeaderAddr = 0x1f1;
constexpr size_t kSectorBytes = 512;
constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kHeaderMagic = 0x53726448;  // "HdrS"
constexpr uint16_t kMinVersion = 0x020c;

setup_header header_of(std::span<const std::byte> bytes) {
  setup_header header;
  std::memcpy(&header, bytes.subspan(kHeaderAddr).data(), sizeof header);
  return header;
}

/// boot.rst, kernel_version: an address less 0x200 of a text whose first word is the release.
std::string release_of(std::span<const std::byte> setup, uint16_t kernel_version) {
  const size_t addr = kernel_version + size_t{0x200};
  if (kernel_version == 0 || addr >= setup.size()) return {};
  const auto* start = reinterpret_cast<const char*>(&setup[addr]);
  const std::string_view text(start, ::strnlen(start, setup.size() - addr));
  return std::string(text.substr(0, text.find(' ')));
}

std::unexpected<Error> truncated(size_t needed_bytes, size_t size_bytes) {
  return fail(Code::invalid_argument, "is truncated: its header tells of " + std::to_string(needed_bytes) +
                                          " bytes, the file has " + std::to_string(size_bytes));
}

}  // namespace

bool is_bzimage(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderAddr + sizeof(setup_header)) return false;
  const setup_header header = header_of(bytes);
  return header.boot_flag == kBootFlag && header.header == kHeaderMagic;
}

Result<BzImage> parse_bzimage(std::span<const std::byte> bytes) {
  if (!is_bzimage(bytes)) return fail(Code::invalid_argument, "is not a bzImage");
  const setup_header header = header_of(bytes);
  if (header.version < kMinVersion) {
    char text[16];
    std::snprintf(text, sizeof text, "%d.%02d", header.version >> 8, header.version & 0xff);
    return fail(Code::invalid_argument,
                "speaks boot protocol " + std::string(text) + ", needed is 2.12 (Linux 3.8) or newer");
  }
  if ((header.xloadflags & XLF_KERNEL_64) == 0) {
    return fail(Code::invalid_argument, "is a 32-bit x86 kernel, needed is a 64-bit one");
  }
  const size_t setup_sectors = header.setup_sects == 0 ? 4 : header.setup_sects;
  const size_t setup_bytes = (setup_sectors + 1) * kSectorBytes;
  const size_t image_bytes = setup_bytes + size_t{header.syssize} * 16;
  // All of the fields are 32 bits wide, so no sum of them overflows.
  const size_t payload_end = setup_bytes + size_t{header.payload_offset} + size_t{header.payload_length};
  if (payload_end > bytes.size()) return truncated(std::max(payload_end, image_bytes), bytes.size());
  if (header.payload_length < 8) return fail(Code::invalid_argument, "has no payload: its header is damaged");
  return BzImage{
      .payload = bytes.subspan(setup_bytes + header.payload_offset, header.payload_length),
      .version = release_of(bytes.first(setup_bytes), header.kernel_version),
      .initrd_end = uint64_t{header.initrd_addr_max} + 1,
  };
}

Result<std::vector<std::byte>> unpack_payload(const BzImage& image, size_t max_bytes) {
  const auto compression = detect_compression(image.payload);
  if (!compression) {
    return fail(Code::invalid_argument,
                "has a payload of unknown compression: known are gzip, bzip2, lzma, xz, lz4 and zstd");
  }
  uint32_t size_bytes = 0;
  std::memcpy(&size_bytes, image.payload.last(sizeof size_bytes).data(), sizeof size_bytes);
  if (size_bytes > max_bytes) {
    return fail(Code::payload_too_large,
                "has a kernel of " + in_mib(size_bytes) + " in it, the limit is " + in_mib(max_bytes));
  }
  // gzip's own trailer is that size; to all others the kernel's build appends it, behind the stream's end.
  const bool own_trailer = *compression == Compression::gzip;
  const auto stream = image.payload.first(image.payload.size() - (own_trailer ? 0 : sizeof size_bytes));
  auto content = decompress(stream, *compression, size_bytes);
  if (!content) return std::unexpected(std::move(content).error().with_context("payload"));
  if (content->size() != size_bytes) {
    return fail(Code::invalid_argument, "has a payload of " + std::to_string(content->size()) +
                                            " bytes uncompressed, its end tells of " +
                                            std::to_string(size_bytes) + ": it is damaged");
  }
  return content;
}

}  // namespace lambdo::kvm
