#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::namespaces {

/// The directory that belongs to one server at a time, and with it the server's cgroup folder.
struct StateDirectory {
  std::string path;  ///< as realpath(3) gives it
  Fd lock;           ///< held by the server and by its launcher: free only when both are gone
};

/// Makes the directory where it is missing, and takes its lock. Waits a moment for the launcher of a server
/// that was killed. Code::unavailable where another server uses the directory, with that server's process.
Result<StateDirectory> open_state_directory(const std::string& path);

/// The name of the cgroup folder of the server with this state directory, given as realpath(3) does.
std::string cgroup_folder_name(const std::string& state_dir);

}  // namespace lambdo::namespaces
