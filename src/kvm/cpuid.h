#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "kvm/kvm_api.h"

namespace lambdo::kvm {

/// The CPUID leaves of vCPU `index` of `count`, made from what KVM_GET_SUPPORTED_CPUID gave. One package, one
/// thread per core, the APIC id is the index. KVM's own leaves and the hypervisor bit stay, the TSC deadline
/// timer is on (the in-kernel local APIC has it), nested virtualization, SGX, memory encryption and the PMU
/// are off. invalid_argument: index or count out of range, or no leaf 0 and 1 in `supported`.
Result<std::vector<kvm_cpuid_entry2>> guest_cpuid(std::span<const kvm_cpuid_entry2> supported, uint32_t index,
                                                  uint32_t count);

}  // namespace lambdo::kvm
