#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/spawn.h"
#include "base/error.h"

/// What a machine's init does before anything can run in the machine. Every error names its object.
namespace lambdo::agent {

struct MountPoint {
  const char* type;     ///< of the file system; its name is its source too
  std::string target;   ///< made where it is missing
  unsigned long flags;  ///< MS_*
  std::string data;
};

/// In the order of mounting. `disk_mb` caps each of the folders that steps may write to.
std::vector<MountPoint> guest_mounts(const std::string& workspace, uint64_t disk_mb, StepUser owner);

/// Mounts them, and adds the links that programs expect in /dev.
Result<> mount_all(const std::vector<MountPoint>& mounts);

/// Makes "/" read-only from here on, as far as it is a mount of its own.
Result<> make_root_read_only();

/// Whether the kernel unpacked all of the image: the mark behind it is there.
Result<> check_complete(const std::string& folder);

/// Loads `folder`/modules/NAME.ko for each NAME in `folder`/modules.list, in that order. A module that is
/// there already is fine.
Result<> load_modules(const std::string& folder);

/// sethostname(2).
Result<> name_machine(const std::string& hostname);

/// Exactly these variables.
Result<> set_environment(const std::vector<std::string>& variables);

/// Removes a folder of files and folders of files. The first error; the rest is removed nevertheless.
Result<> remove_folder(const std::string& folder);

}  // namespace lambdo::agent
