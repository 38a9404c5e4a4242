#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "doctor/finding.h"

/// The doctor's looks at what the namespace engine needs.
namespace lambdo::doctor {

/// The kernel's switches for user namespaces; a switch that this kernel lacks is nullopt.
struct UserNamespaceSettings {
  std::optional<uint64_t> max_user_namespaces;  ///< user.max_user_namespaces
  std::optional<uint64_t> unprivileged_clone;   ///< kernel.unprivileged_userns_clone (Debian)
  std::optional<uint64_t> apparmor_restrict;    ///< kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
  bool is_root = false;
};
UserNamespaceSettings read_user_namespace_settings();
Finding user_namespace_finding(const UserNamespaceSettings& settings);

/// Finds bwrap on PATH and really starts a sandbox with it.
Finding bubblewrap_finding();

struct ProgramResult {
  int exit_code = 0;   ///< 128 + signal where one ended it
  std::string output;  ///< stdout and stderr together, at most 4 KiB
};
/// Runs `arguments` (the first is the program's path) with no input, for at most `timeout_ms`; killed then,
/// with Code::timeout. Blocks.
Result<ProgramResult> run_program(const std::vector<std::string>& arguments, int timeout_ms);

/// The first executable `name` in the folders of `path` ("/usr/bin:/bin"); empty where there is none.
std::string find_program(std::string_view name, std::string_view path);

}  // namespace lambdo::doctor
