#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvm/boot/decompress.h"
#include "kvm/memory_layout.h"
#include "virtio/memory.h"

/// What the tests of this folder build their kernels, modules and guests of.
namespace lambdo::kvm::fixture {

using Bytes = std::vector<std::byte>;

Bytes bytes_of(std::string_view text);
std::string_view text_of(std::span<const std::byte> bytes);

/// Text that compresses, of `len_bytes`, the same every time.
Bytes sample(size_t len_bytes);

struct ElfPart {
  uint64_t addr;
  Bytes content;
  uint64_t memory_bytes;
  uint32_t type = PT_LOAD;
};

/// An x86-64 executable of these parts, one program header each, contents after the headers.
Bytes make_elf(const std::vector<ElfPart>& parts, uint64_t entry_addr);
/// A kernel of one segment at 16 MiB with its entry at the start and a version banner.
Bytes make_vmlinux();

/// A relocatable file with a .modinfo section of these fields ("depends=a,b"), as a module.
Bytes make_module(const std::vector<std::string>& fields);

Elf64_Ehdr& elf_header(Bytes& elf);
Elf64_Phdr& program_header(Bytes& elf, size_t index);

/// One stream, as command-line tools make it; lz4 as the kernel's build does: a legacy frame.
Bytes compress(std::span<const std::byte> content, Compression compression);
/// xz with the x86 filter and CRC32, as the kernel's build compresses.
Bytes compress_xz_x86(std::span<const std::byte> content);
/// A standard lz4 frame.
Bytes compress_lz4_frame(std::span<const std::byte> content);

/// A bzImage around a compressed payload, with the size of `vmlinux` behind it unless `compression` is gzip.
Bytes make_bzimage(std::span<const std::byte> vmlinux, std::span<const std::byte> payload,
                   Compression compression);
Bytes make_bzimage(std::span<const std::byte> vmlinux, Compression compression);

/// Zeroed RAM of a layout; pages come as they are touched.
class Ram {
 public:
  explicit Ram(uint64_t ram_bytes);
  ~Ram();
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;

  RamLayout layout;
  virtio::GuestMemory memory;

  /// A copy of what is there.
  [[nodiscard]] Bytes read(uint64_t addr, size_t len_bytes) const;
};

/// A new folder under /tmp, removed with all in it at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// Writes a file, with the folders it needs, and gives its path.
  std::string write(const std::string& name, std::span<const std::byte> content) const;
  std::string write(const std::string& name, std::string_view content) const;

 private:
  std::string path_;
};

struct CommandResult {
  int status;
  std::string output;  ///< standard output and error
};
/// Runs a shell command, whose words are the test's own.
CommandResult run_command(const std::string& command);

}  // namespace lambdo::kvm::fixture
