#pragma once

#include "vm_host.h"

namespace lambdo::kvm::fixture {

/// Whether there is a KVM to run guests on; where not, says so.
bool has_kvm();

}  // namespace lambdo::kvm::fixture
