#define DOCTEST_CONFIG_IMPLEMENT

#include <cstdio>
#include <functional>

#include "guest.h"
#include "kvm/probe.h"
#include "reactor/timer.h"
#include "virtio/rng.h"

#include "test.h"

namespace lambdo::kvm {

namespace {

constexpr int64_t kBootLimitMs = 120'000;

/// What a VM left when it ended, or was killed at the limit.
struct Outcome {
  VmExit exit;
  std::string console;
  VmTimings timings;
};

reactor::Task<Result<Outcome>> run_vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config) {
  auto vm = CO_TRY(co_await Vm::start(reactor, threads, std::move(config)));
  reactor::Deadline deadline(reactor, reactor.now_ns() + kBootLimitMs * 1'000'000);
  (void)co_await vm->ended().wait(deadline.token());
  co_await vm->destroy();
  co_return Outcome{.exit = vm->exit(), .console = vm->console(), .timings = vm->timings()};
}

struct Host {
  std::unique_ptr<reactor::Reactor> reactor = reactor::Reactor::create().value();
  VcpuThreads threads{*reactor};

  Result<Outcome> run(VmConfig config) { return reactor->run(run_vm(*reactor, threads, std::move(config))); }
};

/// Boots a guest that must start; its console is shown where a check of the test fails.
Outcome boot(VmConfig config) {
  Host host;
  auto outcome = host.run(std::move(config));
  REQUIRE_MESSAGE(outcome.has_value(), outcome.error().message);
  return std::move(*outcome);
}

}  // namespace

TEST_CASE("Debian's kernel boots from its vmlinux and its bzImage to an init that powers off") {
  for (const char* name : {"vmlinux", "vmlinuz"}) {
    CAPTURE(name);
    VmConfig config = guest::config("power-off");
    config.kernel = guest::kernel(name);
    const Outcome outcome = boot(std::move(config));
    INFO(outcome.console);
    CHECK(outcome.console.contains("init: it speaks"));
    CHECK_EQ(outcome.exit.end, VmEnd::power_off);
    MESSAGE("create_us=", outcome.timings.create_us, " load_us=", outcome.timings.load_us,
            " first_run_us=", outcome.timings.first_run_us, " vm_us=", outcome.timings.machine.vm_us);
  }
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
