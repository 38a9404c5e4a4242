#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/syscalls.h"
#include "fixture.h"
#include "kvm/boot_archive.h"
#include "kvm/kernel_image.h"
#include "kvm/kernel_modules.h"

#include "test.h"

namespace lambdo::kvm {

TEST_CASE("a distribution's kernel and modules are loaded") {
  const char* kernel_path = std::getenv("LAMBDO_TEST_KERNEL");
  const char* modules_path = std::getenv("LAMBDO_TEST_MODULES");
  if (kernel_path == nullptr || modules_path == nullptr) {
    MESSAGE(
        "SKIPPED: LAMBDO_TEST_KERNEL (a vmlinuz) and LAMBDO_TEST_MODULES (its lib/modules/VERSION) are not "
        "set");
    return;
  }
  const auto start_ns = sys::monotonic_ns();
  const auto kernel = load_kernel(std::string(kernel_path));
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

}  // namespace lambdo::kvm
