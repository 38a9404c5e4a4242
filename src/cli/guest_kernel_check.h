#pragma once

#include <string>

#include "cli/finding.h"

namespace lambdo::cli {

/// Whether the guest kernel and modules of this configuration could start a microVM: both are read and
/// unpacked, which takes up to a second. Without a path it says how to have it checked.
Finding guest_kernel_finding(const std::string& config_path);

}  // namespace lambdo::cli
