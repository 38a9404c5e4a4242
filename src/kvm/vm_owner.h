#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "kvm/console.h"
#include "kvm/machine.h"
#include "kvm/register_access.h"
#include "kvm/vcpu_threads.h"
#include "kvm/vm_bus.h"
#include "kvm/vm_config.h"
#include "kvm/vm_exit.h"
#include "reactor/mailbox.h"

namespace lambdo::kvm {

/// Where the start of a VM spent its time.
struct VmTimings {
  int64_t thread_us = 0;     ///< until a pooled thread took over
  int64_t create_us = 0;     ///< VM, memory, devices' lines and vCPUs
  int64_t load_us = 0;       ///< kernel, initrd and boot tables into guest memory, vCPUs' registers
  int64_t first_run_us = 0;  ///< from the call of Vm::start() to the first KVM_RUN
  MachineTimings machine;
};

/// The reactor's side of a VM: what the VM's threads tell it and ask of it. All calls come on the reactor.
class VmOwnerClient {
 public:
  /// The machine has been made and filled, and its vCPUs are about to run: it may be used until tear_down().
  /// Comes before any access_register().
  virtual void machine_started(Machine& machine, const VmTimings& timings) = 0;
  /// The machine could not be made, and nothing is left of it. The last call, on which the owner may die.
  virtual void machine_refused(Error error) = 0;
  /// A vCPU waits until this has read or written the register.
  virtual void access_register(RegisterRequest& request) = 0;
  /// No vCPU runs any more, for this reason. The machine stays until tear_down().
  virtual void machine_stopped(const VmExit& exit) = 0;
  /// The machine is gone. The last call, on which the owner may die.
  virtual void machine_gone() = 0;

 protected:
  ~VmOwnerClient() = default;
};

/// A VM on its own threads, apart from what the reactor does with it. One pooled thread, the owner thread,
/// goes through the machine's whole life, because whatever happens to its descriptors may block:
///
///   make and fill the machine -> run vCPU 0, the others on threads of their own -> wait for all of them ->
///   wait for tear_down() -> close and unmap everything
class VmOwner final : private VmBus::Host {
 public:
  /// All of these outlive the owner. Calls of `client` go through `mailbox`.
  VmOwner(reactor::Mailbox& mailbox, VcpuThreads& threads, const VmConfig& config, Console& console,
          VmOwnerClient& client);
  /// On the reactor, before start() or after the client's last call.
  ~VmOwner();
  VmOwner(const VmOwner&) = delete;
  VmOwner& operator=(const VmOwner&) = delete;

  /// On the reactor: gives the owner thread its job. `kvm` is of open_kvm(), and comes from outside because
  /// the VM's threads may open nothing. `queue_counts` are those of the config's devices.
  void start(Fd kvm, std::vector<uint16_t> queue_counts);
  /// Stops all vCPUs; the first reason counts. On any thread, from machine_started() to tear_down().
  void stop(VmExit reason);
  /// On the reactor, after machine_stopped(): the owner thread takes the machine apart.
  void tear_down();

 private:
  // On the owner thread.
  void run();
  Result<> build();
  void run_vcpus();
  void start_secondary_vcpus();
  void wait_for_vcpus();

  // On vCPU threads, of which the owner thread is one.
  void run_vcpu(uint32_t index);
  void vcpu_stopped();
  void guest_ends(VmExit exit) override { stop(std::move(exit)); }
  void ask_reactor(RegisterAccess& access) override;

  // Posts machine_refused(), where no owner thread could be had or build() failed. On any thread.
  void refuse(Error error);
  [[nodiscard]] int64_t since_start_us() const;

  reactor::Mailbox& mailbox_;
  VcpuThreads& threads_;
  const VmConfig& config_;
  Console& console_;
  VmOwnerClient& client_;
  const int64_t start_ns_;

  // The owner thread makes and destroys these. vCPU threads use them while they run, and the reactor uses the
  // machine from machine_started() to tear_down().
  Fd kvm_;  // /dev/kvm, until the machine has been made
  std::vector<uint16_t> queue_counts_;
  std::unique_ptr<Machine> machine_;
  std::optional<VmBus> bus_;
  VmTimings timings_;

  std::mutex stop_mutex_;
  std::condition_variable all_stopped_;
  uint32_t running_vcpus_ = 0;
  std::optional<VmExit> first_reason_;

  std::atomic<uint32_t> teardown_ordered_ = 0;  // 0 or 1; 32 bits, which atomic::wait() can hand to futex(2)
};

}  // namespace lambdo::kvm
