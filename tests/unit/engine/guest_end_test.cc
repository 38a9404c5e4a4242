#include "engine/guest_end.h"

#include <string>
#include <vector>

#include "test.h"

namespace lambdo::engine {

using kvm::VmEnd;

TEST_CASE("a guest that ended by itself is told how, and a panic by the kernel's own line") {
  struct Row {
    kvm::VmExit exit;
    std::string console;
    Code code;
    std::string message;
  };
  const std::string trace =
      "[1.0] Kernel panic - not syncing: No working init found.\r\n[1.1] CPU: 0 PID: 1\n";
  const std::vector<Row> rows = {
      {{.end = VmEnd::power_off, .detail = {}}, "", Code::guest_ended, "switched itself off (power off)"},
      {{.end = VmEnd::reset, .detail = {}}, "reboot\n", Code::guest_ended, "the guest reset itself"},
      {{.end = VmEnd::triple_fault, .detail = {}}, "", Code::guest_ended, "crashed (triple fault)"},
      {{.end = VmEnd::failed, .detail = "vCPU 0"}, "", Code::guest_ended, "cannot go on: vCPU 0"},
      {{.end = VmEnd::reset, .detail = {}},
       trace,
       Code::guest_panic,
       "the guest's kernel panicked: Kernel panic - not syncing: No working init found."},
  };
  for (const Row& row : rows) {
    const Error error = error_of_end(row.exit, row.console);
    CHECK_EQ(error.code, row.code);
    CHECK_MESSAGE(error.message.ends_with(row.message), error.message);
  }
}

TEST_CASE("a panic's line without an end is cut") {
  const Error error = error_of_end({.end = VmEnd::reset, .detail = {}},
                                   "Kernel panic - not syncing: " + std::string(10'000, 'x'));
  CHECK_LT(error.message.size(), 300);
}

}  // namespace lambdo::engine
