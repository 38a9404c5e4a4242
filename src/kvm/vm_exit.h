#pragma once

#include <cstdint>
#include <string>

namespace lambdo::kvm {

/// How a VM stopped.
enum class VmEnd : uint8_t {
  power_off,     ///< the guest switched itself off
  reset,         ///< the guest asked for a reset: a reboot, or a panic (see console_shows_panic)
  triple_fault,  ///< a vCPU could not even handle a fault of its fault handler
  halted,  ///< KVM reported a halt. With the in-kernel APIC it does not: such a guest waits until killed
  failed,  ///< KVM could not go on; the detail says why
  killed,  ///< destroy() was called while it ran
};

struct VmExit {
  VmEnd end = VmEnd::killed;
  std::string detail;  ///< for people; may be empty
};

}  // namespace lambdo::kvm
