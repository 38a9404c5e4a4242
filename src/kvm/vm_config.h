#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "kvm/boot/boot_source.h"
#include "kvm/console.h"
#include "kvm/memory_layout.h"
#include "virtio/device.h"

namespace lambdo::kvm {

/// A VM to be started. Everything in it is fixed for the VM's life.
struct VmConfig {
  uint64_t ram_bytes = 256 * kMiB;  ///< as RamLayout::create takes it
  uint32_t vcpu_count = 1;          ///< 1 to kMaxVcpus
  BootSource source;                ///< what its memory and vCPU 0 are filled with
  /// Device i sits in virtio_window(i). They outlive Vm::destroy().
  std::vector<virtio::Device*> devices;
  size_t console_bytes = Console::kDefaultBytes;  ///< that are kept
};

/// invalid_argument, with the reason, for a config that cannot be, as far as it can be said without memory
/// and /dev/kvm.
Result<> check(const VmConfig& config);

}  // namespace lambdo::kvm
