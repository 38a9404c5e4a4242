#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "doctor/finding.h"

namespace lambdo::doctor {

/// All that was found out about a machine.
struct Examination {
  std::vector<Finding> findings;
  bool reactor_usable = false;       ///< io_uring as the server needs it
  bool kvm_usable = false;           ///< by the probe
  bool guest_kernel_usable = false;  ///< that of the configuration, with its modules
  bool namespace_usable = false;     ///< bubblewrap starts a sandbox
  bool agent_found = true;           ///< the guest agent's program
  bool network_usable = true;        ///< packets are forwarded, as far as the configuration needs it
  config::EngineChoice engine = config::EngineChoice::automatic;  ///< the configuration's
};

/// Blocks for a second or two. Starts processes: call it while the process has one thread. Without a
/// configuration (null) nothing is known of a guest kernel, and IPv6 is not looked at.
Examination examine_machine(const config::Config* config = nullptr);

/// "kvm" or "namespace": the configuration's engine, or what the engine `auto` becomes. Empty where it cannot
/// run.
std::string usable_engine(const Examination& examination);

std::string format_text(const Examination& examination);
/// {"engine": "namespace" or null, "verdict": TEXT, "findings": [{"grade","name","finding","remedy"}]};
/// remedy only where there is one.
std::string format_json(const Examination& examination);

}  // namespace lambdo::doctor
