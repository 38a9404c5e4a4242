#include "kvm/boot/kernel_modules.h"

#include <string>
#include <vector>

#include "fixture.h"
#include "kvm/boot/elf_file.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Bytes;

namespace {

constexpr std::string_view kVersion = "6.1.0-test";

Bytes module_for(const std::string& depends, std::string_view version = kVersion) {
  return fixture::make_module(
      {"license=GPL", "depends=" + depends, "vermagic=" + std::string(version) + " SMP preempt mod_unload"});
}

/// A folder as the build makes it: vsock needs common, which needs virtio and ring; ring is needed twice.
void fill(const fixture::TemporaryFolder& folder) {
  folder.write("modules.order",
               "kernel/net/vsock-transport.ko\nkernel/net/common.ko\nkernel/virtio/virtio.ko\n"
               "kernel/virtio/virtio_ring.ko\nkernel/net/alone.ko\n");
  folder.write("modules.builtin", "kernel/crypto/rng-core.ko\n");
  folder.write("kernel/net/vsock-transport.ko", module_for("virtio,common,rng_core"));
  folder.write("kernel/net/common.ko", module_for("virtio,virtio_ring"));
  folder.write("kernel/virtio/virtio.ko", module_for("virtio_ring"));
  folder.write("kernel/virtio/virtio_ring.ko", module_for(""));
  folder.write("kernel/net/alone.ko", module_for(""));
}

Result<std::vector<std::string>> resolve(const fixture::TemporaryFolder& folder,
                                         std::vector<std::string_view> wanted,
                                         std::string_view version = kVersion) {
  const ModulesFolder modules = TRY(ModulesFolder::open(folder.path()));
  std::vector<std::string> names;
  for (const KernelModule& module : TRY(modules.resolve(wanted, version))) names.push_back(module.name);
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("modules come after all that they need, once each, and without what is built in") {
  const fixture::TemporaryFolder folder;
  fill(folder);
  CHECK(resolve(folder, {"vsock_transport"}).value() ==
        Names{"virtio_ring", "virtio", "common", "vsock_transport"});
  CHECK(resolve(folder, {"virtio", "vsock-transport", "rng_core", "virtio"}).value() ==
        Names{"virtio_ring", "virtio", "common", "vsock_transport"});
  CHECK(resolve(folder, {"rng-core"}).value().empty());
}

TEST_CASE("a folder that depmod filled serves as well") {
  const fixture::TemporaryFolder folder;
  folder.write("modules.dep", "kernel/b.ko.xz: kernel/a.ko.zst\nkernel/a.ko.zst:\n");
  folder.write("kernel/b.ko.xz", fixture::compress(module_for("a"), Compression::xz));
  folder.write("kernel/a.ko.zst", fixture::compress(module_for(""), Compression::zstd));
  CHECK(resolve(folder, {"b"}).value() == Names{"a", "b"});
}

TEST_CASE("compressed modules are unpacked, also where the list has them without the ending") {
  for (const auto& [ending, compression] :
       {std::pair{".gz", Compression::gzip}, {".xz", Compression::xz}, {".zst", Compression::zstd}}) {
    CAPTURE(ending);
    const fixture::TemporaryFolder folder;
    const Bytes module = module_for("");
    folder.write("modules.order", "kernel/a.ko\n");
    folder.write(std::string("kernel/a.ko") + ending, fixture::compress(module, compression));
    const auto modules = ModulesFolder::open(folder.path()).value();
    const std::vector<std::string_view> wanted = {"a"};
    CHECK(modules.resolve(wanted).value().at(0).bytes == module);
  }
}

TEST_CASE("modules of another kernel are refused with both versions") {
  const fixture::TemporaryFolder folder;
  fill(folder);
  const auto result = resolve(folder, {"alone"}, "6.12.1");
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().message.contains("alone.ko is for kernel 6.1.0-test, the kernel is 6.12.1"));
  CHECK(resolve(folder, {"alone"}, "").has_value());
}

TEST_CASE("what is missing or damaged is named") {
  const fixture::TemporaryFolder folder;
  CHECK_EQ(ModulesFolder::open(folder.path() + "/none").error().code, Code::not_found);
  CHECK(ModulesFolder::open(folder.path()).error().message.contains("neither modules.dep nor modules.order"));
  folder.write("modules.order",
               "kernel/needs.ko\nkernel/gone.ko\nkernel/text.ko\nkernel/cut.ko\nkernel/elf.ko\n"
               "kernel/packed.ko\n");
  folder.write("kernel/needs.ko", module_for("absent"));
  folder.write("kernel/text.ko", "hello");
  const Bytes module = module_for("");
  folder.write("kernel/cut.ko", std::span(module).first(100));
  folder.write("kernel/elf.ko", fixture::make_vmlinux());
  const Bytes packed = fixture::compress(module, Compression::xz);
  folder.write("kernel/packed.ko.xz", std::span(packed).first(60));
  struct Row {
    std::string_view wanted;
    const char* message;
  };
  const std::vector<Row> rows = {
      {"unheard", "has no module unheard"},
      {"needs", "has no module absent, which needs needs"},
      {"gone", "kernel/gone.ko"},
      {"text", "kernel/text.ko: is not an ELF file"},
      {"cut", "kernel/cut.ko: is truncated"},
      {"elf", "kernel/elf.ko: is not a kernel module"},
      {"packed", "kernel/packed.ko.xz: damaged or truncated xz data"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.wanted);
    const auto result = resolve(folder, {row.wanted});
    REQUIRE_FALSE(result.has_value());
    CAPTURE(result.error().message);
    CHECK(result.error().message.contains(row.message));
  }
}

TEST_CASE("modules that need each other are loaded once, and paths out of the folder are passed over") {
  const fixture::TemporaryFolder folder;
  folder.write("modules.order", "kernel/a.ko\nkernel/b.ko\n../outside.ko\n/etc/absolute.ko\n");
  folder.write("kernel/a.ko", module_for("b"));
  folder.write("kernel/b.ko", module_for("a"));
  CHECK(resolve(folder, {"a"}).value() == Names{"b", "a"});
  const auto modules = ModulesFolder::open(folder.path()).value();
  CHECK(modules.has("a"));
  CHECK_FALSE(modules.has("outside"));
  CHECK_FALSE(modules.has("absolute"));
}

TEST_CASE("a hostile section table of a module is an error, never a read outside") {
  const Bytes good = module_for("");
  for (size_t at = sizeof(Elf64_Ehdr) - 32; at < good.size(); ++at) {
    for (const std::byte value : {std::byte{0xff}, std::byte{0x7f}, std::byte{0}}) {
      Bytes damaged = good;
      damaged[at] = value;
      const auto elf = ElfFile::parse(damaged);
      if (!elf) continue;
      const auto section = elf->section(".modinfo");
      if (section && !section->empty()) {
        CHECK_GE(section->data(), damaged.data());
        CHECK_LE(section->data() + section->size(), damaged.data() + damaged.size());
      }
    }
  }
}

}  // namespace lambdo::kvm
