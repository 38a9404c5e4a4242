#include "kvm/probe.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::kvm {

/// The real device, unless this machine has none: then says so and gives false.
static bool has_device() {
  if (::access("/dev/kvm", R_OK | W_OK) == 0) return true;
  MESSAGE("SKIPPED: /dev/kvm is absent or not permitted here, so the probe's guest does not run");
  return false;
}

TEST_CASE("the probe's guest runs its loop on the real device and the verdict follows from its duration") {
  if (!has_device()) return;
  const auto report = probe_kvm();
  REQUIRE_MESSAGE(report.has_value(), report.error().message);
  MESSAGE("duration_us=", report->duration_us, " reason: ", report->reason);
  CHECK_EQ(report->api_version, 12);
  CHECK_GT(report->duration_us, 0);
  CHECK_GE(report->loops, 5000);
  CHECK_EQ(report->usable(), report->duration_us <= 20'000);
  CHECK_EQ(report->status, report->usable() ? ProbeStatus::usable : ProbeStatus::too_slow);
  CHECK_EQ(report->remedy.empty(), report->usable());
}

TEST_CASE("the bound on usable durations decides between usable and too slow") {
  if (!has_device()) return;
  ProbeOptions options;
  options.max_usable_us = 3'600'000'000;
  CHECK_EQ(probe_kvm(options).value().status, ProbeStatus::usable);
  options.max_usable_us = -1;
  const ProbeReport slow = probe_kvm(options).value();
  CHECK_EQ(slow.status, ProbeStatus::too_slow);
  CHECK(slow.reason.contains("emulates guest kernel code"));
}

TEST_CASE("a guest that runs past its time is stopped at its first pause and still measured") {
  if (!has_device()) return;
  ProbeOptions options;
  options.max_run_us = 0;
  const ProbeReport cut = probe_kvm(options).value();
  CHECK_EQ(cut.loops, 5000);
  CHECK_GT(cut.duration_us, 0);
}

TEST_CASE("probing leaves no descriptor behind") {
  const auto before = sys::list_directory("/proc/self/fd").value().size();
  for (int i = 0; i < 3; ++i) REQUIRE(probe_kvm().has_value());
  CHECK_EQ(sys::list_directory("/proc/self/fd").value().size(), before);
}

TEST_CASE("a device that cannot be opened is told apart by its error") {
  struct Row {
    int os_errno;
    ProbeStatus status;
  };
  const std::vector<Row> rows = {
      {ENOENT, ProbeStatus::absent},        {ENODEV, ProbeStatus::absent},       {ENXIO, ProbeStatus::absent},
      {EACCES, ProbeStatus::not_permitted}, {EPERM, ProbeStatus::not_permitted}, {EIO, ProbeStatus::broken},
  };
  for (const Row& row : rows) {
    CAPTURE(row.os_errno);
    const ProbeReport report = report_of_open_error(row.os_errno, "/dev/kvm");
    CHECK_EQ(report.status, row.status);
    CHECK(report.reason.contains("/dev/kvm"));
    CHECK_FALSE(report.remedy.empty());
  }
}

TEST_CASE("a missing device is absent, and one that is not KVM has the wrong version") {
  ProbeOptions options;
  options.device = "/nonexistent/kvm";
  CHECK_EQ(probe_kvm(options).value().status, ProbeStatus::absent);
  options.device = "/dev/null";
  const ProbeReport report = probe_kvm(options).value();
  CHECK_EQ(report.status, ProbeStatus::wrong_version);
  CHECK_EQ(report.reason, "/dev/null is not KVM, needed is version 12");
}

}  // namespace lambdo::kvm
