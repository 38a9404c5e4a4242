#include "fixture.h"

#include <archive.h>
#include <archive_entry.h>
#include <asm/bootparam.h>
#include <lzma.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "kvm/boot/byte_writer.h"

namespace lambdo::kvm::fixture {

namespace {

int archive_filter(Compression compression) {
  switch (compression) {
    case Compression::gzip:
      return ARCHIVE_FILTER_GZIP;
    case Compression::bzip2:
      return ARCHIVE_FILTER_BZIP2;
    case Compression::lzma:
      return ARCHIVE_FILTER_LZMA;
    case Compression::xz:
      return ARCHIVE_FILTER_XZ;
    case Compression::zstd:
      return ARCHIVE_FILTER_ZSTD;
    case Compression::lz4:
      return ARCHIVE_FILTER_LZ4;
    case Compression::lzo:
      break;
  }
  CHECK(false);
}

Bytes compress_by_archive(std::span<const std::byte> content, int filter) {
  Bytes result(content.size() * 2 + 4096);
  size_t used = 0;
  archive* writer = archive_write_new();
  CHECK(archive_write_add_filter(writer, filter) == ARCHIVE_OK);
  CHECK(archive_write_set_filter_option(writer, nullptr, "compression-level", "1") == ARCHIVE_OK);
  CHECK(archive_write_set_format_raw(writer) == ARCHIVE_OK);
  archive_write_set_bytes_in_last_block(writer, 1);
  CHECK(archive_write_open_memory(writer, result.data(), result.size(), &used) == ARCHIVE_OK);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  CHECK(archive_write_header(writer, entry) == ARCHIVE_OK);
  CHECK(archive_write_data(writer, content.data(), content.size()) ==
        static_cast<la_ssize_t>(content.size()));
  CHECK(archive_write_close(writer) == ARCHIVE_OK);
  archive_entry_free(entry);
  archive_write_free(writer);
  result.resize(used);
  return result;
}

/// A legacy frame of blocks that hold literals only, which every decoder must take.
Bytes compress_lz4_legacy(std::span<const std::byte> content) {
  constexpr size_t kBlockBytes = 8 << 20;
  constexpr size_t kLiteralsInToken = 15;
  ByteWriter frame;
  frame.put(uint32_t{0x184c2102});
  for (size_t at = 0; at < content.size(); at += kBlockBytes) {
    const auto literals = content.subspan(at, std::min(kBlockBytes, content.size() - at));
    ByteWriter block;
    block.put(static_cast<uint8_t>(std::min(literals.size(), kLiteralsInToken) << 4));
    if (literals.size() >= kLiteralsInToken) {
      size_t rest = literals.size() - kLiteralsInToken;
      for (; rest >= 255; rest -= 255) block.put(uint8_t{255});
      block.put(static_cast<uint8_t>(rest));
    }
    block.append(literals);
    frame.put(static_cast<uint32_t>(block.size())).append(block.bytes());
  }
  return frame.take();
}

Elf64_Ehdr make_header(uint16_t type) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = type;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof header;
  return header;
}

template <typename T>
std::span<const std::byte> raw(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes sample(size_t len_bytes) {
  Bytes bytes(len_bytes);
  uint32_t state = 1;
  for (size_t i = 0; i < len_bytes; ++i) {
    if (i % 4 == 0) state = state * 1664525 + 1013904223;
    bytes[i] = static_cast<std::byte>("the quick brown fox"[(state >> 20) % 19]);
  }
  return bytes;
}

Bytes make_elf(const std::vector<ElfPart>& parts, uint64_t entry_addr) {
  Elf64_Ehdr header = make_header(ET_EXEC);
  header.e_entry = entry_addr;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(parts.size());
  ByteWriter out;
  out.append(raw(header));
  uint64_t offset = sizeof header + parts.size() * sizeof(Elf64_Phdr);
  for (const ElfPart& part : parts) {
    Elf64_Phdr segment{};
    segment.p_type = part.type;
    segment.p_offset = offset;
    segment.p_paddr = part.addr;
    segment.p_vaddr = 0xffffffff80000000 + part.addr;
    segment.p_filesz = part.content.size();
    segment.p_memsz = part.memory_bytes;
    out.append(raw(segment));
    offset += part.content.size();
  }
  for (const ElfPart& part : parts) out.append(part.content);
  return out.take();
}

Bytes make_vmlinux() {
  Bytes content = sample(100'000);
  const Bytes banner = bytes_of("Linux version %s, Linux version 6.1.0-test (me@here) #1");
  std::ranges::copy(banner, content.begin() + 5000);
  return make_elf({{.addr = 16 * kMiB, .content = content, .memory_bytes = 200'000}}, 16 * kMiB);
}

Bytes make_module(const std::vector<std::string>& fields) {
  constexpr std::string_view kNames("\0.shstrtab\0.modinfo\0", 20);
  ByteWriter info;
  for (const std::string& field : fields) info.text(field).put(uint8_t{0});
  std::array<Elf64_Shdr, 3> sections{};
  constexpr size_t kContentAt = sizeof(Elf64_Ehdr) + sizeof sections;
  sections[1] = {.sh_name = 1, .sh_type = SHT_STRTAB, .sh_offset = kContentAt, .sh_size = kNames.size()};
  sections[2] = {.sh_name = 11,
                 .sh_type = SHT_PROGBITS,
                 .sh_offset = kContentAt + kNames.size(),
                 .sh_size = info.size()};
  Elf64_Ehdr header = make_header(ET_REL);
  header.e_shoff = sizeof header;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = sections.size();
  header.e_shstrndx = 1;
  return ByteWriter().append(raw(header)).append(raw(sections)).text(kNames).append(info.bytes()).take();
}

Elf64_Ehdr& elf_header(Bytes& elf) {
  return *reinterpret_cast<Elf64_Ehdr*>(elf.data());
}
Elf64_Phdr& program_header(Bytes& elf, size_t index) {
  return reinterpret_cast<Elf64_Phdr*>(&elf[sizeof(Elf64_Ehdr)])[index];
}

Bytes compress(std::span<const std::byte> content, Compression compression) {
  if (compression == Compression::lz4) return compress_lz4_legacy(content);
  return compress_by_archive(content, archive_filter(compression));
}

Bytes compress_lz4_frame(std::span<const std::byte> content) {
  return compress_by_archive(content, ARCHIVE_FILTER_LZ4);
}

Bytes compress_xz_x86(std::span<const std::byte> content) {
  lzma_options_lzma options;
  CHECK(!lzma_lzma_preset(&options, 6));
  const std::array<lzma_filter, 3> filters = {{{.id = LZMA_FILTER_X86, .options = nullptr},
                                               {.id = LZMA_FILTER_LZMA2, .options = &options},
                                               {.id = LZMA_VLI_UNKNOWN, .options = nullptr}}};
  Bytes result(lzma_stream_buffer_bound(content.size()) + 4096);
  size_t used = 0;
  CHECK(lzma_stream_buffer_encode(const_cast<lzma_filter*>(filters.data()), LZMA_CHECK_CRC32, nullptr,
                                  reinterpret_cast<const uint8_t*>(content.data()), content.size(),
                                  reinterpret_cast<uint8_t*>(result.data()), &used,
                                  result.size()) == LZMA_OK);
  result.resize(used);
  return result;
}

Bytes make_bzimage(std::span<const std::byte> vmlinux, std::span<const std::byte> payload,
                   Compression compression) {
  constexpr size_t kSetupBytes = 2 * 512;
  constexpr size_t kPayloadOffset = 256;  // where the decompressor's own code would be
  ByteWriter tail;
  tail.append(payload);
  if (compression != Compression::gzip) tail.put(static_cast<uint32_t>(vmlinux.size()));
  setup_header header{};
  header.setup_sects = 1;
  header.boot_flag = 0xaa55;
  header.header = 0x53726448;
  header.version = 0x020f;
  header.xloadflags = XLF_KERNEL_64;
  header.kernel_version = 0x100;  // at 0x300
  header.initrd_addr_max = 0x7fffffff;
  header.payload_offset = kPayloadOffset;
  header.payload_length = static_cast<uint32_t>(tail.size());
  header.syssize = static_cast<uint32_t>((kPayloadOffset + tail.size() + 15) / 16);
  ByteWriter out;
  out.zeros(0x1f1).append(raw(header)).zeros(0x300 - out.size());
  out.text("6.1.0-setup (me@here) #1").zeros(kSetupBytes + kPayloadOffset - out.size());
  return out.append(tail.bytes()).align(16).take();
}

Bytes make_bzimage(std::span<const std::byte> vmlinux, Compression compression) {
  return make_bzimage(vmlinux, compress(vmlinux, compression), compression);
}

Ram::Ram(uint64_t ram_bytes) : layout(RamLayout::create(ram_bytes).value()) {
  std::vector<virtio::MemoryRegion> regions;
  for (const AddressRange& range : layout.ranges()) {
    void* start = ::mmap(nullptr, range.len_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(start != MAP_FAILED);
    regions.push_back({.guest_addr = range.addr, .bytes = {static_cast<std::byte*>(start), range.len_bytes}});
  }
  memory = virtio::GuestMemory::create(regions).value();
}

Ram::~Ram() {
  for (const virtio::MemoryRegion& region : memory.regions()) {
    ::munmap(region.bytes.data(), region.bytes.size());
  }
}

Bytes Ram::read(uint64_t addr, size_t len_bytes) const {
  const auto bytes = memory.slice(addr, len_bytes).value();
  return {bytes.begin(), bytes.end()};
}

TemporaryFolder::TemporaryFolder() {
  char path[] = "/tmp/lambdo-kvm-test-XXXXXX";
  CHECK(::mkdtemp(path) != nullptr);
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, std::span<const std::byte> content) const {
  return write(name, text_of(content));
}

std::string TemporaryFolder::write(const std::string& name, std::string_view content) const {
  const std::filesystem::path path = std::filesystem::path(path_) / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  return path.string();
}

CommandResult run_command(const std::string& command) {
  CommandResult result{.status = -1, .output = {}};
  FILE* pipe = ::popen(("(" + command + ") 2>&1").c_str(), "re");
  if (pipe == nullptr) return result;
  char block[4096];
  for (size_t count = 0; (count = std::fread(block, 1, sizeof block, pipe)) > 0;)
    result.output.append(block, count);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

}  // namespace lambdo::kvm::fixture
