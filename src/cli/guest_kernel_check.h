#pragma once

#include "cli/config.h"
#include "cli/finding.h"

namespace lambdo::cli {

/// Whether the guest kernel and modules of this configuration could start a microVM: both are read and
/// unpacked, which takes up to a second. Without a configuration (null) it says how to have it checked.
Finding guest_kernel_finding(const Config* config);

}  // namespace lambdo::cli
