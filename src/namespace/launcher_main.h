#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace lambdo::namespaces {

struct LauncherOptions {
  std::string state_dir;  ///< one server at a time; names our cgroup folder
  std::string bwrap_path = "/usr/bin/bwrap";
  uint32_t max_sandboxes = 256;
  uid_t first_uid = 210'000;  ///< sandboxes run as this and the max_sandboxes - 1 uids (and gids) after it
};

/// The launcher process from fork to end. `socket` leads to the server; when it closes, the launcher destroys
/// all sandboxes and returns the exit status. `state_name` is the name of our cgroup folder; `lock` is held
/// until all has been cleaned up.
int launcher_main(const LauncherOptions& options, const std::string& state_name, Fd socket, Fd lock);

}  // namespace lambdo::namespaces
