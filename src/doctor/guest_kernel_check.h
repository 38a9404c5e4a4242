#pragma once

#include "config/config.h"
#include "doctor/finding.h"

namespace lambdo::doctor {

/// Whether the guest kernel and modules of this configuration could start a microVM: both are read and
/// unpacked, which takes up to a second. Without a configuration (null) it says how to have it checked.
Finding guest_kernel_finding(const config::Config* config);

}  // namespace lambdo::doctor
