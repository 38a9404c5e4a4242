#include "vm_host.h"

#include "reactor/timer.h"

namespace lambdo::kvm::fixture {

reactor::Task<Result<Outcome>> run_vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config,
                                      int64_t limit_ms) {
  auto vm = CO_TRY(co_await Vm::start(reactor, threads, std::move(config)));
  reactor::Deadline deadline(reactor, reactor.now_ns() + limit_ms * 1'000'000);
  (void)co_await vm->ended().wait(deadline.token());
  co_await vm->destroy();
  co_return Outcome{.exit = vm->exit(), .console = vm->console(), .timings = vm->timings()};
}

Result<Outcome> Host::run(VmConfig config, int64_t limit_ms) {
  return reactor->run(run_vm(*reactor, threads, std::move(config), limit_ms));
}

}  // namespace lambdo::kvm::fixture
