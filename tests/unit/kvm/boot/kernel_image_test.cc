#include "kvm/boot/kernel_image.h"

#include <asm/bootparam.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "fixture.h"
#include "kvm/boot/byte_writer.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Bytes;

namespace {

setup_header& header_of(Bytes& bzimage) {
  return *reinterpret_cast<setup_header*>(&bzimage[0x1f1]);
}

std::span<std::byte> payload_of(Bytes& bzimage) {
  const setup_header& header = header_of(bzimage);
  return std::span(bzimage).subspan(1024 + header.payload_offset, header.payload_length);
}

/// The message of a load that must fail.
std::string failure(Bytes file) {
  const auto kernel = load_kernel(std::move(file));
  REQUIRE_FALSE(kernel.has_value());
  return kernel.error().message;
}

Bytes pvh_note(std::string_view name, uint32_t type, uint32_t entry) {
  return ByteWriter()
      .put(static_cast<uint32_t>(name.size()))
      .put(uint32_t{4})
      .put(type)
      .text(name)
      .align(4)
      .put(entry)
      .take();
}

}  // namespace

TEST_CASE("a vmlinux is loaded segment by segment at its physical addresses") {
  const Bytes text = fixture::sample(5000);
  const Bytes data = fixture::sample(300);
  const uint64_t data_addr = 20 * kMiB;
  const auto kernel =
      load_kernel(fixture::make_elf({{.addr = data_addr, .content = data, .memory_bytes = 9000},
                                     {.addr = 16 * kMiB, .content = text, .memory_bytes = 5000},
                                     {.addr = 0, .content = {}, .memory_bytes = 0}},
                                    16 * kMiB + 64));
  REQUIRE_MESSAGE(kernel.has_value(), kernel.error().message);
  CHECK_EQ(kernel->entry_addr(), 16 * kMiB + 64);
  CHECK_EQ(kernel->end_addr(), data_addr + 9000);
  CHECK_EQ(kernel->segments().size(), 2);
  CHECK_EQ(kernel->initrd_end(), kMmioHoleAddr);
  CHECK_FALSE(kernel->pvh_entry_addr().has_value());
  const fixture::Ram ram(64 * kMiB);
  REQUIRE(write_kernel(*kernel, ram.layout, ram.memory).has_value());
  CHECK(ram.read(16 * kMiB, text.size()) == text);
  CHECK(ram.read(data_addr, data.size()) == data);
  CHECK(ram.read(data_addr + data.size(), 100) == Bytes(100));
}

TEST_CASE("a bzImage of each compression gives the kernel within") {
  const Bytes vmlinux = fixture::make_vmlinux();
  for (const Compression compression : {Compression::gzip, Compression::bzip2, Compression::lzma,
                                        Compression::xz, Compression::lz4, Compression::zstd}) {
    CAPTURE(compression_name(compression));
    const auto kernel = load_kernel(fixture::make_bzimage(vmlinux, compression));
    REQUIRE_MESSAGE(kernel.has_value(), kernel.error().message);
    CHECK_EQ(kernel->entry_addr(), 16 * kMiB);
    CHECK_EQ(kernel->version(), "6.1.0-setup");
    CHECK_EQ(kernel->initrd_end(), 0x80000000);
    const auto content = kernel->content(kernel->segments()[0]);
    CHECK(Bytes(content.begin(), content.end()) == Bytes(vmlinux.end() - 100'000, vmlinux.end()));
  }
  const auto filtered = fixture::make_bzimage(vmlinux, fixture::compress_xz_x86(vmlinux), Compression::xz);
  CHECK(load_kernel(filtered).has_value());
}

TEST_CASE("the version comes from the banner where there is no setup header") {
  CHECK_EQ(load_kernel(fixture::make_vmlinux()).value().version(), "6.1.0-test");
}

TEST_CASE("the PVH entry is found among the notes, and damaged notes are passed over") {
  const Bytes code(4096, std::byte{0x90});
  const uint64_t addr = 16 * kMiB;
  const auto pvh_of = [&](const Bytes& note) {
    return load_kernel(fixture::make_elf({{.addr = addr, .content = code, .memory_bytes = 4096},
                                          {.addr = 0, .content = note, .memory_bytes = 0, .type = PT_NOTE}},
                                         addr))
        .value()
        .pvh_entry_addr();
  };
  constexpr std::string_view kXen("Xen\0", 4);
  const auto entry = static_cast<uint32_t>(addr + 16);
  const Bytes wanted = pvh_note(kXen, 18, entry);
  CHECK_EQ(pvh_of(wanted), addr + 16);
  CHECK_EQ(pvh_of(ByteWriter().append(pvh_note("GNU", 18, 1)).append(wanted).take()), addr + 16);
  CHECK_FALSE(pvh_of(pvh_note(kXen, 17, entry)).has_value());
  CHECK_FALSE(pvh_of(pvh_note(kXen, 18, 0x5000)).has_value());
  CHECK_FALSE(pvh_of(Bytes(wanted.begin(), wanted.end() - 1)).has_value());
  CHECK_FALSE(pvh_of(ByteWriter().put(~0U).put(~0U).put(18U).append(wanted).take()).has_value());
}

TEST_CASE("a hostile ELF header is refused with what is wrong") {
  struct Row {
    const char* what;
    std::function<void(Bytes&)> damage;
    const char* message;
  };
  const auto first = [](Bytes& elf) -> Elf64_Phdr& { return fixture::program_header(elf, 0); };
  const std::vector<Row> rows = {
      {"file offset overflows", [&](Bytes& elf) { first(elf).p_offset = ~uint64_t{0} - 8; }, "truncated"},
      {"file size overflows", [&](Bytes& elf) { first(elf).p_filesz = ~uint64_t{0}; }, "truncated"},
      {"more in the file than in memory", [&](Bytes& elf) { first(elf).p_memsz = 10; }, "malformed"},
      {"memory size overflows", [&](Bytes& elf) { first(elf).p_memsz = ~uint64_t{0}; }, "no guest can have"},
      {"address overflows", [&](Bytes& elf) { first(elf).p_paddr = ~uint64_t{0} - 8; }, "no guest can have"},
      {"address over the boot tables", [&](Bytes& elf) { first(elf).p_paddr = 0x1000; }, "no guest can have"},
      {"segments overlap", [&](Bytes& elf) { first(elf).p_paddr = 20 * kMiB + 100; }, "overlap"},
      {"entry outside", [](Bytes& elf) { fixture::elf_header(elf).e_entry = 0x100000; }, "entry 0x100000"},
      {"entry in the zeros", [](Bytes& elf) { fixture::elf_header(elf).e_entry = 20 * kMiB + 4000; },
       "entry"},
      {"virtual entry", [](Bytes& elf) { fixture::elf_header(elf).e_entry = 0xffffffff81000000; }, "entry"},
      {"program headers outside", [](Bytes& elf) { fixture::elf_header(elf).e_phoff = ~uint64_t{0} - 4; },
       "program header table"},
      {"too many program headers", [](Bytes& elf) { fixture::elf_header(elf).e_phnum = 0xffff; },
       "malformed"},
      {"program headers of another size", [](Bytes& elf) { fixture::elf_header(elf).e_phentsize = 32; },
       "malformed"},
      {"no segments", [](Bytes& elf) { fixture::elf_header(elf).e_phnum = 0; }, "nothing to load"},
      {"object file", [](Bytes& elf) { fixture::elf_header(elf).e_type = ET_REL; }, "no kernel"},
      {"arm64", [](Bytes& elf) { fixture::elf_header(elf).e_machine = EM_AARCH64; }, "is for arm64"},
      {"32-bit x86", [](Bytes& elf) { fixture::elf_header(elf).e_machine = EM_386; }, "is for 32-bit x86"},
      {"x32", [](Bytes& elf) { fixture::elf_header(elf).e_ident[EI_CLASS] = ELFCLASS32; }, "not 64-bit"},
      {"big-endian", [](Bytes& elf) { fixture::elf_header(elf).e_ident[EI_DATA] = ELFDATA2MSB; },
       "not little-endian"},
      {"cut in the segments", [](Bytes& elf) { elf.resize(elf.size() - 1); }, "truncated"},
      {"cut in the program headers", [](Bytes& elf) { elf.resize(100); }, "truncated"},
      {"cut in the header", [](Bytes& elf) { elf.resize(40); }, "not an ELF file"},
  };
  const Bytes good =
      fixture::make_elf({{.addr = 16 * kMiB, .content = fixture::sample(4096), .memory_bytes = 4096},
                         {.addr = 20 * kMiB, .content = fixture::sample(1000), .memory_bytes = 8192}},
                        16 * kMiB);
  CHECK(load_kernel(good).has_value());
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Bytes elf = good;
    row.damage(elf);
    const std::string message = failure(std::move(elf));
    CAPTURE(message);
    CHECK(message.contains(row.message));
  }
}

TEST_CASE("a kernel is written only where the guest has RAM") {
  struct Row {
    const char* what;
    uint64_t addr;
    uint64_t memory_bytes;
    uint64_t ram_bytes;
    bool fits;
  };
  const std::vector<Row> rows = {
      {"ends with the RAM", 63 * kMiB, kMiB, 64 * kMiB, true},
      {"zeros beyond the RAM", 63 * kMiB, kMiB + 1, 64 * kMiB, false},
      {"beyond the RAM", 100 * kMiB, 4096, 64 * kMiB, false},
      {"in the MMIO hole", kMmioHoleAddr + kMiB, 4096, 8 * kGiB, false},
      {"into the MMIO hole", kMmioHoleAddr - 4096, 8192, 8 * kGiB, false},
      {"above the MMIO hole", kMmioHoleEnd, 8192, 8 * kGiB, true},
      {"across the MMIO hole", kMmioHoleAddr - 4096, kGiB + 8192, 8 * kGiB, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const auto kernel = load_kernel(fixture::make_elf(
        {{.addr = row.addr, .content = fixture::sample(4096), .memory_bytes = row.memory_bytes}}, row.addr));
    REQUIRE_MESSAGE(kernel.has_value(), kernel.error().message);
    const fixture::Ram ram(row.ram_bytes);
    const auto written = write_kernel(*kernel, ram.layout, ram.memory);
    CHECK_EQ(written.has_value(), row.fits);
    if (!written) CHECK(written.error().message.contains("give the guest more memory"));
  }
}

TEST_CASE("a hostile setup header is refused with what is wrong") {
  struct Row {
    const char* what;
    std::function<void(Bytes&)> damage;
    const char* message;
  };
  const std::vector<Row> rows = {
      {"payload beyond the file", [](Bytes& image) { header_of(image).payload_length = ~0U; }, "truncated"},
      {"payload offset beyond the file", [](Bytes& image) { header_of(image).payload_offset = ~0U; },
       "truncated"},
      {"no payload", [](Bytes& image) { header_of(image).payload_length = 0; }, "no payload"},
      {"payload without content", [](Bytes& image) { header_of(image).payload_length = 8; }, ""},
      {"setup beyond the file", [](Bytes& image) { header_of(image).setup_sects = 255; }, "truncated"},
      {"too old", [](Bytes& image) { header_of(image).version = 0x020b; }, "boot protocol 2.11"},
      {"32-bit", [](Bytes& image) { header_of(image).xloadflags = 0; }, "32-bit x86 kernel"},
      {"unknown compression", [](Bytes& image) { *payload_of(image).begin() = std::byte{0}; },
       "unknown compression"},
      {"cut", [](Bytes& image) { image.resize(image.size() - 32); }, "truncated"},
      {"size at the end too large", [](Bytes& image) { payload_of(image).back() = std::byte{0xff}; },
       "the limit is"},
      {"size at the end too small", [](Bytes& image) { payload_of(image).last(4)[1] ^= std::byte{0x80}; },
       "payload"},
      {"damaged content", [](Bytes& image) { payload_of(image)[50] ^= std::byte{0xff}; }, "payload"},
      {"version text outside", [](Bytes& image) { header_of(image).kernel_version = 0xffff; }, nullptr},
  };
  const Bytes good = fixture::make_bzimage(fixture::make_vmlinux(), Compression::zstd);
  CHECK(load_kernel(good).has_value());
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Bytes image = good;
    row.damage(image);
    const auto kernel = load_kernel(std::move(image));
    CHECK_EQ(kernel.has_value(), row.message == nullptr);
    if (!kernel) {
      CAPTURE(kernel.error().message);
      CHECK(kernel.error().message.contains(row.message));
    }
  }
}

TEST_CASE("a size that the payload's content does not have is refused in either direction") {
  const Bytes vmlinux = fixture::make_vmlinux();
  const Bytes payload = fixture::compress(vmlinux, Compression::zstd);
  for (const int difference : {-1, 1}) {
    CAPTURE(difference);
    const Bytes other(vmlinux.size() + difference);
    CHECK(failure(fixture::make_bzimage(other, payload, Compression::zstd)).contains("payload"));
  }
}

TEST_CASE("what is no kernel at all says what it is") {
  struct Row {
    Bytes file;
    const char* message;
  };
  Bytes arm64(4096);
  std::ranges::copy(fixture::bytes_of("ARM\x64"), arm64.begin() + 56);
  const std::vector<Row> rows = {
      {{}, "is empty"},
      {fixture::bytes_of("#!/bin/sh\n"), "is not a kernel"},
      {Bytes(1 << 20), "is not a kernel"},
      {arm64, "arm64"},
      {fixture::compress(fixture::make_vmlinux(), Compression::gzip), "is a gzip file, not a kernel"},
      {fixture::make_bzimage(fixture::sample(5000), Compression::xz),
       "vmlinux in the payload: is not an ELF"},
  };
  for (const Row& row : rows) {
    const std::string message = failure(row.file);
    CAPTURE(message);
    CHECK(message.contains(row.message));
  }
}

TEST_CASE("errors of a kernel file name the file") {
  const fixture::TemporaryFolder folder;
  const std::string missing = folder.path() + "/vmlinuz";
  const auto none = load_kernel(missing);
  REQUIRE_FALSE(none.has_value());
  CHECK_EQ(none.error().code, Code::not_found);
  CHECK(none.error().message.contains(missing));
  CHECK(load_kernel(folder.path()).error().message.contains("not a regular file"));
  const std::string text = folder.write("text", "hello");
  CHECK(load_kernel(text).error().message.contains(text + ": is not a kernel"));
  CHECK(load_kernel(folder.write("good", fixture::make_bzimage(fixture::make_vmlinux(), Compression::lz4))));
}

}  // namespace lambdo::kvm
