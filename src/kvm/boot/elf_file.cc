#include "kvm/boot/elf_file.h"

#include <cstring>
#include <string>

#include "base/text.h"

namespace lambdo::kvm {

namespace {

std::string machine_name(uint16_t machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_AARCH64:
      return "arm64";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "PowerPC";
    case EM_S390:
      return "s390";
    default:
      return "ELF machine " + std::to_string(machine);
  }
}

Result<> check_header(const Elf64_Ehdr& header) {
  // The fields up to e_machine lie at the same place in 32-bit files.
  if (header.e_machine != EM_X86_64) {
    return fail(Code::invalid_argument, "is for " + machine_name(header.e_machine) + ", not x86-64");
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64) return fail(Code::invalid_argument, "is not 64-bit ELF");
  if (header.e_ident[EI_DATA] != ELFDATA2LSB) return fail(Code::invalid_argument, "is not little-endian ELF");
  return {};
}

template <typename Row>
std::vector<Row> copy_table(std::span<const std::byte> bytes) {
  std::vector<Row> rows(bytes.size() / sizeof(Row));
  // Without rows there is no address, which memcpy must not be given.
  if (!rows.empty()) std::memcpy(rows.data(), bytes.data(), rows.size() * sizeof(Row));
  return rows;
}

std::string_view text_at(std::span<const std::byte> strings, uint32_t offset) {
  if (offset >= strings.size()) return {};
  const auto* start = reinterpret_cast<const char*>(&strings[offset]);
  return {start, ::strnlen(start, strings.size() - offset)};
}

}  // namespace

Result<ElfFile> ElfFile::parse(std::span<const std::byte> bytes) {
  ElfFile file;
  file.bytes_ = bytes;
  if (bytes.size() < sizeof(Elf64_Ehdr) || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) {
    return fail(Code::invalid_argument, "is not an ELF file");
  }
  std::memcpy(&file.header_, bytes.data(), sizeof file.header_);
  TRY(check_header(file.header_));
  const Elf64_Ehdr& header = file.header_;
  if (header.e_phnum > kMaxSegments || (header.e_phnum > 0 && header.e_phentsize != sizeof(Elf64_Phdr))) {
    return fail(Code::invalid_argument, "has a malformed ELF program header table");
  }
  const auto table =
      TRY(file.content(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), "program header table"));
  file.segments_ = copy_table<Elf64_Phdr>(table);
  return file;
}

Result<std::span<const std::byte>> ElfFile::content(uint64_t offset, uint64_t len_bytes,
                                                    std::string_view what) const {
  if (offset > bytes_.size() || len_bytes > bytes_.size() - offset) {
    return fail(Code::invalid_argument, "is truncated: its " + std::string(what) + " (" +
                                            std::to_string(len_bytes) + " bytes at " + hex(offset) +
                                            ") lies outside its " + std::to_string(bytes_.size()) + " bytes");
  }
  return bytes_.subspan(offset, len_bytes);
}

Result<std::span<const std::byte>> ElfFile::section(std::string_view name) const {
  if (header_.e_shnum == 0) return std::span<const std::byte>();
  if (header_.e_shentsize != sizeof(Elf64_Shdr) || header_.e_shstrndx >= header_.e_shnum) {
    return fail(Code::invalid_argument, "has a malformed ELF section table");
  }
  const auto sections = copy_table<Elf64_Shdr>(
      TRY(content(header_.e_shoff, header_.e_shnum * sizeof(Elf64_Shdr), "section table")));
  const Elf64_Shdr& names = sections[header_.e_shstrndx];
  const auto strings = TRY(content(names.sh_offset, names.sh_size, "section names"));
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_NOBITS || text_at(strings, section.sh_name) != name) continue;
    return content(section.sh_offset, section.sh_size, name);
  }
  return std::span<const std::byte>();
}

}  // namespace lambdo::kvm
