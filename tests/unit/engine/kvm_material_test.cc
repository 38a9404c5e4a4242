#include "engine/kvm_material.h"

#include "kvm/memory_layout.h"

#include "test.h"

namespace lambdo::engine {

using kvm::kMiB;

TEST_CASE("a guest's memory holds the image while it is unpacked, as a tmpfs, and beside the run's limit") {
  struct Row {
    uint64_t configured_mb;
    uint64_t limit_mb;
    uint64_t archive_mb;
    uint64_t unpacked_mb;
    uint64_t ram_mb;
  };
  const std::vector<Row> rows = {
      {0, 256, 10, 10, 112 + 10 + 256},      // the run's own memory counts most
      {0, 16, 100, 100, 112 + 100 + 100},    // packed and unpacked at once
      {0, 16, 50, 200, 112 + 2 * 200},       // a tmpfs takes half of the memory
      {0, 1000, 50, 200, 112 + 200 + 1000},  //
      {512, 1000, 50, 200, 512},             // what the operator says holds
  };
  for (const Row& row : rows) {
    CAPTURE(row.ram_mb);
    Language language;
    language.vm_memory_mb = row.configured_mb;
    language.limits.memory_mb = row.limit_mb;
    CHECK_EQ(guest_ram_bytes(language, row.archive_mb * kMiB, row.unpacked_mb * kMiB), row.ram_mb * kMiB);
  }
  CHECK_EQ(guest_ram_bytes({}, 1, 1) % kMiB, 0);
}

TEST_CASE("what cannot be loaded is told by its key") {
  const auto without_kernel = load_kvm_material({}, {});
  REQUIRE_FALSE(without_kernel);
  CHECK_EQ(without_kernel.error().code, Code::unavailable);
  for (const char* path : {"/nonexistent/vmlinux", "/etc/passwd", "/etc"}) {
    CAPTURE(path);
    const auto loaded = load_kvm_material({.kernel_path = path}, {});
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().message.starts_with("vmm.kernel: "));
    CHECK_NE(loaded.error().code, Code::unavailable);
  }
}

TEST_CASE("a guest's command line starts the agent by its token, and the operator's arguments come last") {
  const auto token = kvm::BootToken::from("0123456789abcdef0123456789abcdef").value();
  const auto line = guest_command_line(token, "quiet mitigations=off");
  REQUIRE(line);
  CHECK(
      line->text().ends_with(" rdinit=/.lambdo-0123456789abcdef0123456789abcdef/init quiet mitigations=off"));
  CHECK_EQ(guest_command_line(token, "a\tb").error().code, Code::invalid_argument);
  CHECK_EQ(guest_command_line(token, std::string(4096, 'x')).error().code, Code::invalid_argument);
}

TEST_CASE("a guest is told its network as the original's VMM tells it") {
  const auto token = kvm::BootToken::from("0123456789abcdef0123456789abcdef").value();
  const auto line = guest_command_line(token, "quiet", GuestNetwork{"192.168.10.2/24", "192.168.10.1"});
  REQUIRE(line);
  CHECK(line->text().ends_with("/init quiet ip=192.168.10.2::192.168.10.1:255.255.255.0::eth0:off"));
  CHECK_EQ(guest_command_line(token, "", GuestNetwork{"192.168.10.2", ""}).error().code,
           Code::invalid_argument);
}

}  // namespace lambdo::engine
