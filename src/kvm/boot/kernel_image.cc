#include "kvm/boot/kernel_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/syscalls.h"
#include "base/text.h"
#include "kvm/boot/bzimage.h"
#include "kvm/boot/decompress.h"
#include "kvm/boot/elf_file.h"

namespace lambdo::kvm {

namespace {

constexpr uint32_t kXenPhys32Entry = 18;  // xen/include/public/elfnote.h
constexpr uint64_t kMaxNoteBytes = 64 << 10;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string describe(const Elf64_Phdr& segment) {
  return "segment at " + hex(segment.p_paddr) + " of " + std::to_string(segment.p_memsz) + " bytes";
}

Result<KernelSegment> to_segment(const ElfFile& elf, const Elf64_Phdr& header) {
  TRY(elf.content(header.p_offset, header.p_filesz, describe(header)));
  if (header.p_filesz > header.p_memsz) {
    return fail(Code::invalid_argument, "has a malformed " + describe(header) + ": more in the file");
  }
  // No guest has so much memory, and below the bound no sum overflows.
  constexpr uint64_t kHighestEnd = kMmioHoleEnd + kMaxRamBytes;
  if (header.p_paddr < kHighRamAddr || header.p_paddr > kHighestEnd || header.p_memsz > kHighestEnd) {
    return fail(Code::invalid_argument, "has a " + describe(header) + ", which no guest can have there");
  }
  return KernelSegment{.range = {.addr = header.p_paddr, .len_bytes = header.p_memsz},
                       .file_offset = header.p_offset,
                       .file_bytes = header.p_filesz};
}

Result<std::vector<KernelSegment>> load_segments(const ElfFile& elf) {
  std::vector<KernelSegment> segments;
  for (const Elf64_Phdr& header : elf.segments()) {
    if (header.p_type == PT_LOAD && header.p_memsz > 0) segments.push_back(TRY(to_segment(elf, header)));
  }
  if (segments.empty()) return fail(Code::invalid_argument, "has nothing to load: no ELF segment");
  std::ranges::sort(segments, {}, [](const KernelSegment& segment) { return segment.range.addr; });
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i - 1].range.end() > segments[i].range.addr) {
      return fail(Code::invalid_argument, "has ELF segments that overlap at " + hex(segments[i].range.addr));
    }
  }
  return segments;
}

/// Where `addr` is filled from the file: code that can run.
bool has_content_at(std::span<const KernelSegment> segments, uint64_t addr) {
  return std::ranges::any_of(segments, [&](const KernelSegment& segment) {
    return addr >= segment.range.addr && addr - segment.range.addr < segment.file_bytes;
  });
}

uint32_t read_u32(std::span<const std::byte> bytes, size_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

/// Notes are {name size, content size, type}, then both padded to 4 bytes (gABI, Note Section). Damaged ones
/// end the search: the entry is an offer, not a need.
std::optional<uint64_t> find_pvh_entry(std::span<const std::byte> notes) {
  constexpr size_t kHeaderBytes = 12;
  const auto padded = [](uint64_t size) { return (size + 3) & ~uint64_t{3}; };
  while (notes.size() >= kHeaderBytes) {
    const uint64_t name_bytes = read_u32(notes, 0);
    const uint64_t content_bytes = read_u32(notes, 4);
    const uint64_t note_bytes = kHeaderBytes + padded(name_bytes) + padded(content_bytes);
    if (note_bytes > notes.size()) return std::nullopt;
    const auto name = as_text(notes.subspan(kHeaderBytes, name_bytes));
    if (read_u32(notes, 8) == kXenPhys32Entry && name == std::string_view("Xen\0", 4) && content_bytes >= 4) {
      return read_u32(notes, kHeaderBytes + padded(name_bytes));
    }
    notes = notes.subspan(note_bytes);
  }
  return std::nullopt;
}

/// The release in the banner that every kernel carries: "Linux version RELEASE (builder)...".
std::string find_version(std::span<const std::byte> bytes) {
  constexpr std::string_view kBanner = "Linux version ";
  constexpr size_t kMaxVersionBytes = 64;  // of struct utsname
  std::span<const std::byte> rest = bytes;
  for (;;) {
    const auto* found =
        static_cast<const std::byte*>(::memmem(rest.data(), rest.size(), kBanner.data(), kBanner.size()));
    if (found == nullptr) return {};
    rest = rest.subspan(static_cast<size_t>(found - rest.data()) + kBanner.size());
    const auto text = as_text(rest.first(std::min(rest.size(), kMaxVersionBytes)));
    // Formats ("Linux version %s") and prose do not start with a digit.
    if (!text.empty() && text[0] >= '0' && text[0] <= '9') return std::string(text.substr(0, text.find(' ')));
  }
}

Result<std::vector<std::byte>> read_kernel_file(const std::string& path) {
  const Fd file = TRY(sys::open(path, O_RDONLY));
  struct stat info{};
  if (::fstat(file.get(), &info) < 0) return fail_errno("stat " + path);
  if (!S_ISREG(info.st_mode)) return fail(Code::invalid_argument, path + ": is not a regular file");
  const auto size_bytes = static_cast<size_t>(info.st_size);
  if (size_bytes > kMaxKernelFileBytes) {
    return fail(Code::payload_too_large,
                path + ": has " + in_mib(size_bytes) + ", a kernel at most " + in_mib(kMaxKernelFileBytes));
  }
  std::vector<std::byte> bytes(size_bytes);
  for (size_t at = 0; at < bytes.size();) {
    const auto count = ::read(file.get(), &bytes[at], bytes.size() - at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read " + path);
    if (count == 0) bytes.resize(at);
    at += static_cast<size_t>(count);
  }
  return bytes;
}

std::unexpected<Error> not_a_kernel(std::span<const std::byte> file) {
  const auto bad = [](std::string text) { return fail(Code::invalid_argument, std::move(text)); };
  if (file.empty()) return bad("is empty");
  if (const auto compression = detect_compression(file)) {
    return bad("is a " + std::string(compression_name(*compression)) +
               " file, not a kernel: unpack it, or give the bzImage (vmlinuz)");
  }
  constexpr size_t kArm64MagicAddr = 56;
  if (file.size() > kArm64MagicAddr + 4 && as_text(file.subspan(kArm64MagicAddr, 4)) == "ARM\x64") {
    return bad("is an arm64 kernel, needed is one for x86-64");
  }
  return bad("is not a kernel: neither an ELF vmlinux nor a bzImage (vmlinuz)");
}

}  // namespace

Result<KernelImage> KernelImage::from_vmlinux(std::vector<std::byte> vmlinux) {
  KernelImage image;
  image.bytes_ = std::move(vmlinux);
  const ElfFile elf = TRY(ElfFile::parse(image.bytes_));
  if (elf.header().e_type != ET_EXEC && elf.header().e_type != ET_DYN) {
    return fail(Code::invalid_argument, "is an ELF file, but no kernel (nothing that runs)");
  }
  image.segments_ = TRY(load_segments(elf));
  image.entry_addr_ = elf.header().e_entry;
  if (!has_content_at(image.segments_, image.entry_addr_)) {
    return fail(Code::invalid_argument, "is not a kernel: its entry " + hex(image.entry_addr_) +
                                            " is not a physical address within what it loads");
  }
  for (const Elf64_Phdr& header : elf.segments()) {
    if (header.p_type != PT_NOTE || header.p_filesz > kMaxNoteBytes) continue;
    const auto notes = TRY(elf.content(header.p_offset, header.p_filesz, "note"));
    const auto entry = find_pvh_entry(notes);
    if (entry && has_content_at(image.segments_, *entry)) image.pvh_entry_addr_ = entry;
  }
  image.version_ = find_version(image.bytes_);
  return image;
}

Result<KernelImage> load_kernel(std::vector<std::byte> file) {
  if (as_text(file).starts_with(ELFMAG)) {
    if (file.size() > kMaxKernelBytes) {
      return fail(Code::payload_too_large,
                  "has " + in_mib(file.size()) + ", a kernel at most " + in_mib(kMaxKernelBytes));
    }
    return KernelImage::from_vmlinux(std::move(file));
  }
  if (!is_bzimage(file)) return not_a_kernel(file);
  const BzImage compressed = TRY(parse_bzimage(file));
  auto image = KernelImage::from_vmlinux(TRY(unpack_payload(compressed, kMaxKernelBytes)));
  if (!image) return std::unexpected(std::move(image).error().with_context("vmlinux in the payload"));
  image->initrd_end_ = compressed.initrd_end;
  if (!compressed.version.empty()) image->version_ = compressed.version;
  return image;
}

Result<KernelImage> load_kernel(const std::string& path) {
  auto bytes = read_kernel_file(path);
  if (!bytes) return std::unexpected(std::move(bytes).error().with_context("kernel"));
  auto image = load_kernel(std::move(*bytes));
  if (!image) return std::unexpected(std::move(image).error().with_context("kernel " + path));
  return image;
}

Result<> write_kernel(const KernelImage& kernel, const RamLayout& ram, const virtio::GuestMemory& memory) {
  for (const KernelSegment& segment : kernel.segments()) {
    if (!ram.loadable(segment.range)) {
      return fail(Code::invalid_argument, "the kernel needs memory from " + hex(segment.range.addr) + " to " +
                                              hex(segment.range.end()) + ", which a guest of " +
                                              in_mib(ram.ram_bytes()) +
                                              " does not have: give the guest more memory");
    }
    const auto content = kernel.content(segment);
    const auto to = TRY(memory.slice(segment.range.addr, content.size()));
    std::memcpy(to.data(), content.data(), content.size());
  }
  return {};
}

}  // namespace lambdo::kvm
