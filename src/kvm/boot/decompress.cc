#include "kvm/boot/decompress.h"

#include <archive.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "base/check.h"
#include "kvm/memory_layout.h"

namespace lambdo::kvm {

namespace {

struct Format {
  Compression compression;
  std::string_view name;
  std::string_view magic;
  int filter;  ///< libarchive's; 0 for none
};

using namespace std::string_view_literals;

// LZMA has no magic: its properties byte and the low bytes of a dictionary size are what everybody looks for.
constexpr std::array<Format, 8> kFormats = {{
    {Compression::gzip, "gzip", "\x1f\x8b"sv, ARCHIVE_FILTER_GZIP},
    {Compression::bzip2, "bzip2", "BZh"sv, ARCHIVE_FILTER_BZIP2},
    {Compression::lzma, "lzma", "\x5d\x00\x00"sv, ARCHIVE_FILTER_LZMA},
    {Compression::xz, "xz", "\xfd\x37zXZ\x00"sv, ARCHIVE_FILTER_XZ},
    {Compression::lzo, "lzo", "\x89LZO\x00"sv, 0},
    {Compression::lz4, "lz4", "\x02\x21\x4c\x18"sv, ARCHIVE_FILTER_LZ4},
    {Compression::lz4, "lz4", "\x04\x22\x4d\x18"sv, ARCHIVE_FILTER_LZ4},
    {Compression::zstd, "zstd", "\x28\xb5\x2f\xfd"sv, ARCHIVE_FILTER_ZSTD},
}};

const Format& format_of(Compression compression) {
  const auto* found = std::ranges::find(kFormats, compression, &Format::compression);
  CHECK(found != kFormats.end());
  return *found;
}

struct FreeArchive {
  void operator()(archive* handle) const { archive_read_free(handle); }
};

std::string what_failed(archive* handle, std::string_view name) {
  const char* text = archive_error_string(handle);
  return "damaged or truncated " + std::string(name) + " data" +
         (text != nullptr ? ": " + std::string(text) : std::string());
}

Result<std::vector<std::byte>> read_all(archive* handle, std::string_view name, size_t first_bytes,
                                        size_t max_bytes) {
  std::vector<std::byte> content(std::min(first_bytes, max_bytes));
  size_t at = 0;
  for (;;) {
    if (at == content.size()) {
      if (at > max_bytes) {
        return fail(Code::payload_too_large,
                    std::string(name) + " data of more than " + in_mib(max_bytes) + " uncompressed");
      }
      // One byte past the cap tells "exactly the cap" from "more than it".
      content.resize(std::min(std::max(content.size() * 2, size_t{1} << 16), max_bytes + 1));
    }
    const auto count = archive_read_data(handle, &content[at], content.size() - at);
    if (count < 0) return fail(Code::invalid_argument, what_failed(handle, name));
    if (count == 0) break;
    at += static_cast<size_t>(count);
  }
  content.resize(at);
  return content;
}

}  // namespace

std::string_view compression_name(Compression compression) {
  return format_of(compression).name;
}

std::optional<Compression> detect_compression(std::span<const std::byte> bytes) {
  const std::string_view start(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Format& format : kFormats) {
    if (start.starts_with(format.magic)) return format.compression;
  }
  return std::nullopt;
}

Result<std::vector<std::byte>> decompress(std::span<const std::byte> bytes, Compression compression,
                                          size_t max_bytes) {
  const Format& format = format_of(compression);
  if (format.filter == 0) {
    return fail(Code::not_implemented,
                std::string(format.name) + " compression is not supported: use gzip, xz, lz4 or zstd");
  }
  const std::unique_ptr<archive, FreeArchive> handle(archive_read_new());
  if (!handle) return fail(Code::resource_exhausted, "no memory for a decompressor");
  archive_entry* entry = nullptr;
  if (archive_read_support_filter_by_code(handle.get(), format.filter) != ARCHIVE_OK ||
      archive_read_support_format_raw(handle.get()) != ARCHIVE_OK) {
    return fail(Code::unavailable, "libarchive was built without " + std::string(format.name));
  }
  if (archive_read_open_memory(handle.get(), bytes.data(), bytes.size()) != ARCHIVE_OK ||
      archive_read_next_header(handle.get(), &entry) != ARCHIVE_OK ||
      archive_filter_code(handle.get(), 0) != format.filter) {
    return fail(Code::invalid_argument, what_failed(handle.get(), format.name));
  }
  // A guess that saves most of the growing: kernels and modules compress to a third or less.
  return read_all(handle.get(), format.name, bytes.size() * 3, max_bytes);
}

}  // namespace lambdo::kvm
