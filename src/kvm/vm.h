#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "kvm/boot/boot_archive.h"
#include "kvm/boot/kernel_image.h"
#include "kvm/console.h"
#include "kvm/device_slot.h"
#include "kvm/machine.h"
#include "kvm/memory_layout.h"
#include "kvm/serial.h"
#include "kvm/vcpu.h"
#include "kvm/vcpu_threads.h"
#include "kvm/vm_exit.h"
#include "reactor/event.h"
#include "reactor/scope.h"
#include "reactor/task.h"
#include "virtio/device.h"

namespace lambdo::kvm {

/// A machine to be started. Everything in it is fixed for the VM's life.
struct VmConfig {
  uint64_t ram_bytes = 256 * kMiB;  ///< as RamLayout::create takes it
  uint32_t vcpu_count = 1;          ///< 1 to kMaxVcpus
  std::shared_ptr<const KernelImage> kernel;
  std::shared_ptr<const BootArchive> initrd;  ///< may be null
  std::optional<BootToken> token;             ///< for the initrd
  std::string command_line;
  /// Device i sits in virtio_window(i). They outlive destroy().
  std::vector<virtio::Device*> devices;
  size_t console_bytes = Console::kDefaultBytes;  ///< that are kept
};

/// Where start() spent its time.
struct VmTimings {
  int64_t thread_us = 0;     ///< until a pooled thread took over
  int64_t create_us = 0;     ///< VM, memory, devices' lines and vCPUs
  int64_t load_us = 0;       ///< kernel, initrd, boot tables into guest memory
  int64_t first_run_us = 0;  ///< from the call of start() to the first KVM_RUN
  MachineTimings machine;
};

/// A running virtual machine. Lives on the reactor; its vCPUs run on as many pooled threads, and what may
/// block happens there too. The guest can waste nothing but its own memory and CPU time.
class Vm final : private VcpuBus {
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
  /// A vCPU's register access that waits for the reactor.
  struct PendingAccess {
    static constexpr uint32_t kWaiting = 0;
    static constexpr uint32_t kAnswered = 1;
    static constexpr uint32_t kAbandoned = 2;
    std::atomic<uint32_t> state = kAnswered;
    uint32_t device = 0;
    uint64_t offset = 0;
    bool is_write = false;
    size_t len_bytes = 0;
    std::array<std::byte, 8> data{};
  };

  Vm(reactor::Reactor& reactor, VcpuThreads& threads, VmConfig config);

  // On pooled threads.
  void own_machine();
  Result<> build_machine();
  void start_secondary_vcpus();
  void report_start(Result<> result);
  void run_vcpu(uint32_t index);
  void vcpu_stopped();
  void await_vcpus();
  void end(VmExit exit);
  void access_device(uint32_t vcpu, uint64_t addr, std::span<std::byte> data, bool is_write);

  // VcpuBus, on vCPU threads.
  void read_port(uint16_t port, std::span<std::byte> to) override;
  void write_port(uint16_t port, std::span<const std::byte> from) override;
  void read_mmio(uint32_t vcpu, uint64_t addr, std::span<std::byte> to) override;
  void write_mmio(uint32_t vcpu, uint64_t addr, std::span<const std::byte> from) override;
  [[nodiscard]] uint8_t read_port_byte(uint16_t port);
  void write_port_byte(uint16_t port, uint8_t value);

  // On the reactor.
  void attach_devices();
  void serve(PendingAccess& access);

  reactor::Reactor& reactor_;
  VcpuThreads& threads_;
  const VmConfig config_;
  const int64_t start_ns_;
  Fd device_;                           // /dev/kvm, until the machine is made
  std::vector<uint16_t> queue_counts_;  // of the devices

  // Made and destroyed by the owner thread, which is vCPU 0's. The reactor uses it between attach_devices()
  // and its request to tear it down.
  std::unique_ptr<Machine> machine_;
  std::optional<SerialPort> serial_;
  Console console_;
  std::array<PendingAccess, kMaxVcpus> accesses_;
  std::atomic<uint32_t> teardown_wanted_ = 0;
  std::mutex end_mutex_;
  std::condition_variable all_stopped_;
  uint32_t running_vcpus_ = 0;
  std::optional<VmExit> first_end_;  // decides; what the other vCPUs met while they stopped does not

  // The reactor's.
  std::vector<std::unique_ptr<DeviceSlot>> slots_;
  reactor::Scope scope_;
  reactor::Event decided_;  // it runs, or could not be started
  reactor::Event ended_;
  reactor::Event gone_;
  bool destroying_ = false;
  Result<> start_result_;
  VmExit exit_;
  VmTimings timings_;
};

}  // namespace lambdo::kvm
