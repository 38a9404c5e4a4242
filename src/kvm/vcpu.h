#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/mapping.h"
#include "kvm/kvm_api.h"
#include "kvm/vm_exit.h"

namespace lambdo::kvm {

/// The accesses of a vCPU that KVM does not serve itself. Called on vCPU threads, several at a time.
class VcpuBus {
 public:
  /// One access of 1, 2 or 4 bytes.
  virtual void read_port(uint16_t port, std::span<std::byte> to) = 0;
  virtual void write_port(uint16_t port, std::span<const std::byte> from) = 0;
  /// Outside of RAM, of 1 to 8 bytes.
  virtual void read_mmio(uint32_t vcpu, uint64_t addr, std::span<std::byte> to) = 0;
  virtual void write_mmio(uint32_t vcpu, uint64_t addr, std::span<const std::byte> from) = 0;

 protected:
  ~VcpuBus() = default;
};

/// What the vCPUs of one VM are made from.
struct VcpuSetup {
  std::span<const kvm_cpuid_entry2> supported;  ///< by KVM_GET_SUPPORTED_CPUID
  uint32_t count = 1;                           ///< of the VM
  size_t run_area_bytes = 0;                    ///< by KVM_GET_VCPU_MMAP_SIZE
};

/// One virtual CPU: its descriptor, the area shared with KVM, its loop.
class Vcpu {
 public:
  /// KVM_CREATE_VCPU, and its CPUID, which decides what other state it may have.
  static Result<std::unique_ptr<Vcpu>> create(const Fd& vm, uint32_t index, const VcpuSetup& setup);

  /// Gives it the state of a CPU about to start: vCPU 0 at `entry_addr` of a kernel that is in memory, the
  /// others waiting for the INIT and SIPI of vCPU 0.
  Result<> boot(uint64_t entry_addr);

  /// Runs the guest on this thread until stop() was called or the CPU cannot go on: nullopt in the first
  /// case.
  [[nodiscard]] std::optional<VmExit> run(VcpuBus& bus);

  /// Makes run() return soon, also one that is still to come. Thread-safe.
  void stop();
  [[nodiscard]] bool stopping() const { return stopping_.load(); }

 private:
  Vcpu(uint32_t index, Fd fd, Mapping run_area)
      : index_(index), fd_(std::move(fd)), run_area_(std::move(run_area)) {}

  Result<> set_boot_registers(uint64_t entry_addr);
  [[nodiscard]] kvm_run& shared() const { return *reinterpret_cast<kvm_run*>(run_area_.bytes().data()); }
  [[nodiscard]] std::optional<VmExit> loop(VcpuBus& bus);
  [[nodiscard]] std::optional<VmExit> handle_exit(VcpuBus& bus);
  void handle_port(VcpuBus& bus);
  void handle_mmio(VcpuBus& bus);
  [[nodiscard]] VmExit failure(std::string what) const;

  const uint32_t index_;
  Fd fd_;
  Mapping run_area_;
  std::atomic<bool> stopping_ = false;
  std::mutex thread_mutex_;
  pid_t thread_ = 0;  // that is in run(), else 0
};

}  // namespace lambdo::kvm
