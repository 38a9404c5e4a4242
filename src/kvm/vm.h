#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "kvm/console.h"
#include "kvm/device_slot.h"
#include "kvm/machine.h"
#include "kvm/vcpu_threads.h"
#include "kvm/vm_config.h"
#include "kvm/vm_exit.h"
#include "kvm/vm_owner.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"
#include "virtio/memory.h"

namespace lambdo::kvm {

/// A running virtual machine, as the reactor has it: its devices, its console, its end. All that may block
/// happens on the threads of its VmOwner. A guest can waste nothing but its own memory and processor time.
class Vm final : private VmOwnerClient {
 public:
  /// Builds the machine on a pooled thread and returns when its vCPUs run. invalid_argument: a config that
  /// cannot be; unavailable or permission_denied: no /dev/kvm; resource_exhausted: out of threads,
  /// descriptors or memory; engine_failed or io: KVM refuses something. After an error nothing is left.
  /// `reactor` and `threads` outlive the VM.
  static reactor::Task<Result<std::unique_ptr<Vm>>> start(reactor::Reactor& reactor, VcpuThreads& threads,
                                                          VmConfig config);
  /// destroy() has returned.
  ~Vm();
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;

  [[nodiscard]] const VmConfig& config() const { return config_; }
  /// Valid until destroy().
  [[nodiscard]] const virtio::GuestMemory& memory() const { return machine_->ram().memory(); }
  /// Set once no vCPU runs any more, by itself or killed.
  [[nodiscard]] reactor::Event& ended() { return ended_; }
  /// Once ended. A panic is a reset whose console_shows_panic().
  [[nodiscard]] const VmExit& exit() const { return exit_; }
  /// The last bytes of the serial console.
  [[nodiscard]] std::string console() const { return console_.text(); }
  /// All that were ever written to it.
  [[nodiscard]] uint64_t console_bytes() const { return console_.total_bytes(); }
  [[nodiscard]] const VmTimings& timings() const { return timings_; }

  /// Kills the guest where it still runs, waits for its vCPUs, resets the devices, and closes and unmaps all
  /// of it off the reactor. Must have returned before the Vm dies. Idempotent, also at the same time.
  reactor::Task<> destroy();

 private:
  Vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config);
  [[nodiscard]] std::vector<uint16_t> queue_counts() const;

  void machine_started(Machine& machine, const VmTimings& timings) override;
  void machine_refused(Error error) override;
  void access_register(RegisterRequest& request) override;
  void machine_stopped(const VmExit& exit) override;
  void machine_gone() override;

  reactor::Reactor& reactor_;
  const VmConfig config_;
  Console console_;
  VmOwner owner_;
  Machine* machine_ = nullptr;  // while the reactor may use it
  std::vector<std::unique_ptr<DeviceSlot>> slots_;
  reactor::Scope scope_;
  reactor::Event start_decided_;  // the machine started, or was refused
  reactor::Event ended_;
  reactor::Event gone_;
  bool destroying_ = false;
  Result<> start_result_;
  VmExit exit_;
  VmTimings timings_;
};

}  // namespace lambdo::kvm
