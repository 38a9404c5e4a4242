#pragma once

#include <string>
#include <vector>

#include "cli/finding.h"

namespace lambdo::cli {

/// Whether this version has an engine for KVM; without one `auto` is the namespace engine everywhere.
inline constexpr bool kHasKvmEngine = false;

/// All that was found out about a machine.
struct Examination {
  std::vector<Finding> findings;
  bool reactor_usable = false;    ///< io_uring as the server needs it
  bool kvm_usable = false;        ///< by the probe
  bool namespace_usable = false;  ///< bubblewrap starts a sandbox
};

/// Blocks for a second or two. Starts processes: call it while the process has one thread.
Examination examine_machine();

/// "kvm", "namespace", or empty where neither can run: what the engine `auto` becomes.
std::string automatic_engine(const Examination& examination, bool has_kvm_engine = kHasKvmEngine);

std::string format_text(const Examination& examination, bool has_kvm_engine = kHasKvmEngine);
/// {"engine": "namespace" or null, "findings": [{"grade","name","finding","remedy"}]}; remedy only where
/// there is one.
std::string format_json(const Examination& examination, bool has_kvm_engine = kHasKvmEngine);

}  // namespace lambdo::cli
