#pragma once

#include <string>
#include <vector>

#include "cli/finding.h"

namespace lambdo::cli {

/// All that was found out about a machine.
struct Examination {
  std::vector<Finding> findings;
  bool reactor_usable = false;       ///< io_uring as the server needs it
  bool kvm_usable = false;           ///< by the probe
  bool guest_kernel_usable = false;  ///< that of the configuration, with its modules
  bool namespace_usable = false;     ///< bubblewrap starts a sandbox
};

/// Blocks for a second or two. Starts processes: call it while the process has one thread. Without a
/// configuration (empty) nothing is known of a guest kernel, and IPv6 is not looked at.
Examination examine_machine(const std::string& config_path = {});

/// "kvm", "namespace", or empty where neither can run: what the engine `auto` becomes.
std::string automatic_engine(const Examination& examination);

std::string format_text(const Examination& examination);
/// {"engine": "namespace" or null, "findings": [{"grade","name","finding","remedy"}]}; remedy only where
/// there is one.
std::string format_json(const Examination& examination);

}  // namespace lambdo::cli
