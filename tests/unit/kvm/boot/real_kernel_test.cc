#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/syscalls.h"
#include "fixture.h"
#include "kvm/boot/boot_archive.h"
#include "kvm/boot/bzimage.h"
#include "kvm/boot/kernel_image.h"
#include "kvm/boot/kernel_modules.h"

#include "test.h"

namespace lambdo::kvm {

namespace {

/// Of the environment; empty, and says so, where it is not set.
std::string path_from(const char* variable, const char* what) {
  const char* path = std::getenv(variable);
  if (path == nullptr) MESSAGE("SKIPPED: ", std::string(variable), " (", std::string(what), ") is not set");
  return path == nullptr ? "" : path;
}

}  // namespace

TEST_CASE("a distribution's kernel and modules are loaded") {
  const std::string kernel_path = path_from("LAMBDO_TEST_KERNEL", "a vmlinuz");
  const std::string modules_path = path_from("LAMBDO_TEST_MODULES", "its lib/modules/VERSION");
  if (kernel_path.empty() || modules_path.empty()) return;
  const auto start_ns = sys::monotonic_ns();
  const auto kernel = load_kernel(kernel_path);
  REQUIRE_MESSAGE(kernel.has_value(), kernel.error().message);
  MESSAGE("loaded in ms: ", (sys::monotonic_ns() - start_ns) / 1'000'000);
  CHECK_FALSE(kernel->version().empty());
  CHECK(kernel->pvh_entry_addr().has_value());
  CHECK_EQ(kernel->entry_addr(), 16 * kMiB);
  const fixture::Ram ram(128 * kMiB);
  CHECK(write_kernel(*kernel, ram.layout, ram.memory).has_value());
  const auto folder = ModulesFolder::open(modules_path);
  REQUIRE_MESSAGE(folder.has_value(), folder.error().message);
  const auto modules = folder->resolve(kGuestModules, kernel->version());
  REQUIRE_MESSAGE(modules.has_value(), modules.error().message);
  for (const std::string_view wanted : kGuestModules) {
    CHECK(std::ranges::count(*modules, wanted, &KernelModule::name) <= 1);
  }
  CHECK(BootArchive::create({.agent = {}, .modules = *modules, .config = {}}, {}).has_value());
}

TEST_CASE("a distribution's kernel is the same to a guest whatever its bzImage is compressed with") {
  const std::string kernel_path = path_from("LAMBDO_TEST_KERNEL", "a vmlinuz");
  if (kernel_path.empty()) return;
  const std::string file = sys::read_file(kernel_path, 64 * kMiB).value();
  const auto image = parse_bzimage(std::as_bytes(std::span(file)));
  REQUIRE_MESSAGE(image.has_value(), image.error().message);
  const auto vmlinux = unpack_payload(*image, 512 * kMiB).value();
  const auto plain = load_kernel(vmlinux).value();
  for (const Compression compression : {Compression::gzip, Compression::bzip2, Compression::lzma,
                                        Compression::xz, Compression::lz4, Compression::zstd}) {
    CAPTURE(compression_name(compression));
    const auto kernel = load_kernel(fixture::make_bzimage(vmlinux, compression));
    REQUIRE_MESSAGE(kernel.has_value(), kernel.error().message);
    CHECK_EQ(kernel->entry_addr(), plain.entry_addr());
    REQUIRE_EQ(kernel->segments().size(), plain.segments().size());
    for (size_t i = 0; i < plain.segments().size(); ++i) {
      CHECK_EQ(kernel->segments()[i].range.addr, plain.segments()[i].range.addr);
      CHECK(std::ranges::equal(kernel->content(kernel->segments()[i]), plain.content(plain.segments()[i])));
    }
  }
}

}  // namespace lambdo::kvm
