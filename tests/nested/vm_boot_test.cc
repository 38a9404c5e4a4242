#define DOCTEST_CONFIG_IMPLEMENT

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "guest.h"
#include "kvm/probe.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "virtio/rng.h"
#include "vm_host.h"

#include "test.h"

namespace lambdo::kvm {

using fixture::Host;
using fixture::Outcome;

namespace {

constexpr int64_t kBootLimitMs = 120'000;

/// Boots a guest that must start.
Outcome boot(VmConfig config) {
  Host host;
  auto outcome = host.run(std::move(config), kBootLimitMs);
  REQUIRE_MESSAGE(outcome.has_value(), outcome.error().message);
  return std::move(*outcome);
}

/// The number behind `label` on the console, -1 where it is not there.
long number_after(std::string_view console, std::string_view label) {
  const size_t at = console.find(label);
  return at == std::string_view::npos ? -1 : std::atol(console.data() + at + label.size());
}

}  // namespace

TEST_CASE("Debian's kernel boots from its vmlinux and its bzImage to an init that powers off") {
  for (const std::string name : {"vmlinux", "vmlinuz"}) {
    CAPTURE(name);
    VmConfig config = guest::config("power-off");
    config.source.kernel = guest::kernel(name);
    const Outcome outcome = boot(std::move(config));
    INFO(outcome.console);
    CHECK(outcome.console.contains("init: it speaks"));
    CHECK_EQ(outcome.exit.end, VmEnd::power_off);
  }
}

TEST_CASE("a reboot, a panic and a triple fault are told apart") {
  const Outcome reboot = boot(guest::config("reboot"));
  INFO(reboot.console);
  CHECK_EQ(reboot.exit.end, VmEnd::reset);
  CHECK_FALSE(console_shows_panic(reboot.console));

  const Outcome panic = boot(guest::config("exit"));
  INFO(panic.console);
  CHECK_EQ(panic.exit.end, VmEnd::reset);
  CHECK(console_shows_panic(panic.console));
  CHECK(panic.console.contains("Attempted to kill init"));

  VmConfig config = guest::config("reboot");
  config.source.command_line += " reboot=t";
  const Outcome triple_fault = boot(std::move(config));
  INFO(triple_fault.console);
  CHECK_EQ(triple_fault.exit.end, VmEnd::triple_fault);
}

/// Until `word` is on the console, or the VM ended or the limit passed.
static reactor::Task<> await_word(reactor::Reactor& reactor, Vm& vm, std::string word) {
  const int64_t deadline_ns = reactor.now_ns() + kBootLimitMs * 1'000'000;
  while (!vm.console().contains(word) && !vm.ended().is_set() && reactor.now_ns() < deadline_ns) {
    (void)co_await reactor::SleepOp::for_ms(reactor, 20);
  }
  CHECK(vm.console().contains(word));
}

static reactor::Task<> kill_at_word(Host& host, VmConfig config, std::string word) {
  auto vm = (co_await Vm::start(*host.reactor, host.threads, std::move(config))).value();
  co_await await_word(*host.reactor, *vm, std::move(word));
  const int64_t start_ns = host.reactor->now_ns();
  co_await vm->destroy();
  CHECK_EQ(vm->exit().end, VmEnd::killed);
  CHECK_LT((host.reactor->now_ns() - start_ns) / 1'000'000, 1000);
}

TEST_CASE("a guest whose init waits, and one that floods its console, is killed within a second") {
  Host host;
  host.reactor->run(kill_at_word(host, guest::config("wait"), "init: it speaks"));
  host.reactor->run(kill_at_word(host, guest::config("flood"), "floods its console"));
}

TEST_CASE("a guest with too little memory for its kernel panics, and that is told") {
  VmConfig config = guest::config("power-off");
  config.ram_bytes = kMinRamBytes;  // enough to load Debian's kernel, not enough for it to start
  const Outcome outcome = boot(std::move(config));
  INFO(outcome.console);
  CHECK_EQ(outcome.exit.end, VmEnd::reset);
  CHECK(console_shows_panic(outcome.console));
}

TEST_CASE("a guest of 128 MiB boots, and one of four vCPUs and 5 GiB sees them all") {
  VmConfig small = guest::config("report power-off");
  small.ram_bytes = 128 * kMiB;
  const Outcome least = boot(std::move(small));
  INFO(least.console);
  CHECK_EQ(least.exit.end, VmEnd::power_off);
  CHECK_EQ(number_after(least.console, "init: processors: "), 1);

  VmConfig config = guest::config("report power-off");
  config.vcpu_count = 4;
  config.ram_bytes = 5 * kGiB;
  const Outcome outcome = boot(std::move(config));
  INFO(outcome.console);
  CHECK_EQ(outcome.exit.end, VmEnd::power_off);
  CHECK_EQ(number_after(outcome.console, "init: processors: "), 4);
  CHECK_GT(number_after(outcome.console, "init: memory MiB: "), 4800);
}

TEST_CASE("the kernel's own driver gets random bytes from our device") {
  virtio::Rng rng;
  VmConfig config = guest::config("modules random power-off", true);
  config.devices = {&rng};
  const Outcome outcome = boot(std::move(config));
  INFO(outcome.console);
  CHECK_EQ(number_after(outcome.console, "init: random bytes: "), 16);
  CHECK_FALSE(outcome.console.contains("init: random bytes: 16 00000000000000000000000000000000"));
  CHECK_EQ(outcome.exit.end, VmEnd::power_off);
}

TEST_CASE("a kernel and initramfs that do not fit into memory are refused with the sizes") {
  const auto image = std::vector<std::byte>(60 << 20, std::byte{'0'});
  std::vector<std::byte> archive = image;
  std::ranges::copy(std::as_bytes(std::span("070701", 6)), archive.begin());
  VmConfig config = guest::config("power-off");
  config.ram_bytes = kMinRamBytes;
  config.source.initrd = std::make_shared<const BootArchive>(BootArchive::create({}, archive).value());
  Host host;
  const auto refused = host.run(std::move(config));
  REQUIRE_FALSE(refused.has_value());
  CHECK_EQ(refused.error().code, Code::invalid_argument);
  CHECK_MESSAGE(refused.error().message.contains("give the guest more memory"), refused.error().message);
}

static reactor::Task<> boot_into(Host& host, VmConfig config, std::optional<Outcome>& outcome) {
  virtio::Rng rng;
  config.devices = {&rng};
  outcome = (co_await fixture::run_vm(*host.reactor, host.threads, std::move(config), kBootLimitMs)).value();
}

static reactor::Task<> boot_all(Host& host, const VmConfig& config,
                                std::vector<std::optional<Outcome>>& outcomes) {
  reactor::Scope scope(*host.reactor);
  for (auto& outcome : outcomes) scope.spawn(boot_into(host, config, outcome));
  co_await scope.join();
}

TEST_CASE("eight guests boot at once, on a thread each, and no turn of the loop waits for them") {
  constexpr size_t kGuests = 8;
  const VmConfig config = guest::config("modules random power-off", true);
  Host host;
  std::vector<std::optional<Outcome>> outcomes(kGuests);
  host.reactor->run(boot_all(host, config, outcomes));
  for (const auto& outcome : outcomes) {
    INFO(outcome->console);
    CHECK_EQ(outcome->exit.end, VmEnd::power_off);
    CHECK(outcome->console.contains("init: random bytes: 16"));
  }
  CHECK_EQ(host.threads.count(), kGuests);
  const auto& statistics = host.reactor->statistics();
  MESSAGE("turns=", statistics.turns, " longest_us=", statistics.longest_ns / 1000,
          " over 5 ms: ", statistics.buckets[7] + statistics.buckets[8]);
}

/// What of this process's memory is resident and no guest's, in KiB: guests' memory is in writable mappings
/// of their size.
static long own_memory_kib() {
  std::istringstream lines(sys::read_file("/proc/self/smaps", 64 << 20).value());
  long sum = 0;
  bool is_guests = false;
  for (std::string line; std::getline(lines, line);) {
    uint64_t start = 0;
    uint64_t end = 0;
    char mode[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, mode) == 3) {
      is_guests = mode[1] == 'w' && end - start >= VmConfig().ram_bytes;
    } else if (!is_guests && line.starts_with("Rss:")) {
      sum += std::atol(line.c_str() + 4);
    }
  }
  return sum;
}

static reactor::Task<> measure_memory(Host& host, const VmConfig& config, double& each_kib) {
  constexpr int kGuests = 4;
  std::vector<std::unique_ptr<Vm>> vms;
  long before_kib = 0;
  // The first one is not counted: it also brings what all share.
  for (int i = 0; i < 1 + kGuests; ++i) {
    vms.push_back((co_await Vm::start(*host.reactor, host.threads, config)).value());
    co_await await_word(*host.reactor, *vms.back(), "init: random bytes");
    if (i == 0) before_kib = own_memory_kib();
  }
  each_kib = static_cast<double>(own_memory_kib() - before_kib) / kGuests;
  for (auto& vm : vms) {
    CHECK_FALSE(vm->ended().is_set());
    co_await vm->destroy();
  }
}

TEST_CASE("a running guest costs this process at most 3 MiB beyond the guest's own memory") {
  Host host;
  double each_kib = 0;
  host.reactor->run(measure_memory(host, guest::config("random wait"), each_kib));
  MESSAGE("KiB each: ", each_kib);
  CHECK_LE(each_kib, 3 * 1024);
}

}  // namespace lambdo::kvm

int main(int argc, char** argv) {
  const auto probe = lambdo::kvm::probe_kvm();
  if (!probe || !probe->usable()) {
    std::printf("KVM is not usable here: %s\n",
                probe ? probe->reason.c_str() : probe.error().message.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
