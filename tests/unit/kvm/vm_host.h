#pragma once

#include <memory>
#include <string>

#include "kvm/vm.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::kvm::fixture {

/// What a VM left behind.
struct Outcome {
  VmExit exit;
  std::string console;
  VmTimings timings;
};

/// Starts a VM, waits for its end and destroys it. At `limit_ms` it is killed.
reactor::Task<Result<Outcome>> run_vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config,
                                      int64_t limit_ms);

/// A reactor and its vCPU threads.
struct Host {
  std::unique_ptr<reactor::Reactor> reactor = reactor::Reactor::create().value();
  VcpuThreads threads;

  /// Runs one VM from start to end.
  Result<Outcome> run(VmConfig config, int64_t limit_ms = 60'000);
};

}  // namespace lambdo::kvm::fixture
