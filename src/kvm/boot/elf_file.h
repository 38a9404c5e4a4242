#pragma once

#include <elf.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace lambdo::kvm {

/// A 64-bit x86 ELF file whose header is checked; its tables are copied, its content is where it was. Nothing
/// in the tables is trusted: content() checks every range.
class ElfFile {
 public:
  /// `bytes` outlive the result. invalid_argument: not ELF, not 64-bit, not little-endian, not x86-64, or a
  /// table outside the file (which mostly means: truncated).
  static Result<ElfFile> parse(std::span<const std::byte> bytes);

  [[nodiscard]] const Elf64_Ehdr& header() const { return header_; }
  /// At most kMaxSegments.
  [[nodiscard]] std::span<const Elf64_Phdr> segments() const { return segments_; }

  /// `len_bytes` of the file from `offset` on; `what` names them in the error.
  [[nodiscard]] Result<std::span<const std::byte>> content(uint64_t offset, uint64_t len_bytes,
                                                           std::string_view what) const;
  /// The section of that name, empty where there is none.
  [[nodiscard]] Result<std::span<const std::byte>> section(std::string_view name) const;

  static constexpr size_t kMaxSegments = 64;

 private:
  std::span<const std::byte> bytes_;
  Elf64_Ehdr header_{};
  std::vector<Elf64_Phdr> segments_;
};

}  // namespace lambdo::kvm
