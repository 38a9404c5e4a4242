#include <sys/resource.h>

#include <cinttypes>
#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "fixture.h"
#include "kvm/vm.h"
#include "tiny_guest.h"
#include "virtio/rng.h"
#include "vm_fixture.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Assembler;
using fixture::has_kvm;
using fixture::Host;
using fixture::Outcome;
using fixture::tiny_vm;

namespace {

/// What a VM takes of this process.
struct Ledger {
  size_t descriptors;
  size_t threads;
  size_t guest_mappings;
  size_t kvm_mappings;

  static Ledger now() {
    const std::string maps = sys::read_file("/proc/self/maps", 64 << 20).value();
    return {.descriptors = sys::list_directory("/proc/self/fd").value().size(),
            .threads = sys::list_directory("/proc/self/task").value().size(),
            .guest_mappings = count_large(maps),
            .kvm_mappings = count(maps, "kvm")};
  }
  bool operator==(const Ledger&) const = default;

 private:
  /// Writable mappings that could be a guest's memory.
  static size_t count_large(const std::string& maps) {
    std::istringstream lines(maps);
    size_t found = 0;
    for (std::string line; std::getline(lines, line);) {
      uint64_t start = 0;
      uint64_t end = 0;
      char mode[5] = {};
      if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, mode) != 3) continue;
      if (mode[1] == 'w' && end - start >= kMinRamBytes) ++found;
    }
    return found;
  }
  static size_t count(std::string_view text, std::string_view word) {
    size_t found = 0;
    for (size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++found;
    return found;
  }
};

void check_unchanged(const Ledger& before) {
  const Ledger after = Ledger::now();
  CHECK_EQ(after.descriptors, before.descriptors);
  // A thread may be on its way back to the pool when the next VM starts, which then takes another one.
  CHECK_LE(after.threads, before.threads + 1);
  CHECK_EQ(after.guest_mappings, before.guest_mappings);
  CHECK_EQ(after.kvm_mappings, before.kvm_mappings);
}

VmConfig with(const std::function<void(VmConfig&)>& change) {
  VmConfig config = tiny_vm(Assembler().power_off());
  change(config);
  return config;
}

/// A limit on new descriptors while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit lower = {.rlim_cur = limit, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &lower);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace

TEST_CASE("a config that cannot be is refused with its reason") {
  Host host;
  virtio::Rng rng;
  struct Row {
    VmConfig config;
    std::string_view reason;
  };
  const auto initrd = std::make_shared<const BootArchive>(BootArchive::create({}, {}).value());
  const std::vector<Row> rows = {
      {with([](VmConfig& config) { config.vcpu_count = 0; }), "0 vCPUs: must be 1 to 8"},
      {with([](VmConfig& config) { config.vcpu_count = 9; }), "9 vCPUs: must be 1 to 8"},
      {with([](VmConfig& config) { config.vcpu_count = 1000; }), "1000 vCPUs: must be 1 to 8"},
      {with([](VmConfig& config) { config.ram_bytes = 32 * kMiB; }), "must be whole MiB from 64 MiB"},
      {with([](VmConfig& config) { config.ram_bytes = 17 * kGiB; }), "must be whole MiB from 64 MiB"},
      {with([](VmConfig& config) { config.source.kernel = nullptr; }), "without a kernel"},
      {with([&](VmConfig& config) { config.source.initrd = initrd; }), "without its token"},
      {with([&](VmConfig& config) { config.devices.assign(9, &rng); }), "room for 8"},
  };
  for (const Row& row : rows) {
    const auto refused = host.run(row.config);
    REQUIRE_FALSE(refused.has_value());
    CHECK_EQ(refused.error().code, Code::invalid_argument);
    CHECK_MESSAGE(refused.error().message.contains(row.reason), refused.error().message);
  }
  CHECK_EQ(host.threads.count(), 0);
}

TEST_CASE("what turns out wrong while the machine is built fails the start and leaves nothing") {
  if (!has_kvm()) return;
  Host host;
  REQUIRE(host.run(tiny_vm(Assembler().power_off())).has_value());
  const fixture::Bytes image = fixture::bytes_of("070701" + std::string(70 << 20, '0'));
  const auto large = std::make_shared<const BootArchive>(BootArchive::create({}, image).value());
  struct Row {
    VmConfig config;
    std::string_view reason;
  };
  const std::vector<Row> rows = {
      {fixture::tiny_vm_at(Assembler().power_off(), 80 * kMiB), "the kernel needs memory"},
      {with([&](VmConfig& config) {
         config.source.initrd = large;
         config.source.token = BootToken::random().value();
       }),
       "give the guest more memory"},
      {with([](VmConfig& config) { config.source.command_line = std::string(3000, 'x'); }), "command line"},
  };
  const Ledger before = Ledger::now();
  for (const Row& row : rows) {
    const auto refused = host.run(row.config);
    REQUIRE_FALSE(refused.has_value());
    CHECK_EQ(refused.error().code, Code::invalid_argument);
    CHECK_MESSAGE(refused.error().message.contains(row.reason), refused.error().message);
    check_unchanged(before);
  }
}

TEST_CASE("running out of descriptors at any step fails the start and leaves nothing") {
  if (!has_kvm()) return;
  Host host;
  virtio::Rng rng;
  const auto start = [&] {
    return host.run(with([&](VmConfig& config) {
      config.devices = {&rng};
      config.vcpu_count = 2;
    }));
  };
  REQUIRE(start().has_value());
  const Ledger before = Ledger::now();
  int failures = 0;
  // The directory's own descriptor was one of those counted: the first free number is one lower.
  for (rlim_t more = 0; more < 40; ++more) {
    const auto outcome = [&] {
      const DescriptorLimit limit(before.descriptors - 1 + more);
      return start();
    }();
    check_unchanged(before);
    if (outcome) break;
    ++failures;
    CHECK_MESSAGE(outcome.error().code == Code::resource_exhausted, outcome.error().message);
  }
  // /dev/kvm, VM, three lines and two vCPUs; one may fit into a gap.
  CHECK_GE(failures, 6);
}

TEST_CASE("a hundred VMs in a row leave descriptors, threads and mappings as they were") {
  if (!has_kvm()) return;
  Host host;
  virtio::Rng rng;
  const auto run = [&] {
    const Outcome outcome = host.run(with([&](VmConfig& config) { config.devices = {&rng}; })).value();
    CHECK_EQ(outcome.exit.end, VmEnd::power_off);
  };
  run();
  const Ledger before = Ledger::now();
  for (int i = 0; i < 100; ++i) run();
  check_unchanged(before);
}

}  // namespace lambdo::kvm
