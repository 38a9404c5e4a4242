#pragma once

#include <string>
#include <string_view>

#include "agent/network_plan.h"
#include "base/error.h"

/// /etc/resolv.conf, /etc/hosts and /etc/hostname, as programs of the guest see them.
namespace lambdo::agent {

/// Where they are. The content is written to `own`, which nobody but root may change, and mounted over the
/// files of `etc`: that may be read-only and is the image's.
struct NameFolders {
  std::string etc = "/etc";
  std::string own = "/run/lambdo";
};

/// Before the root becomes read-only: makes those files that are missing, so that there is something to mount
/// over, and replaces links that lead nowhere or into /proc. The hosts file knows localhost then. What cannot
/// be made is told by write_name_files(), to whom it matters.
void prepare_name_files(const NameFolders& folders);

/// Writes all three, in place where they were written before. Needs root and a mount namespace of its own.
/// Errors name the file.
Result<> write_name_files(const NameFolders& folders, const std::string& hostname,
                          const InterfacePlan* interface);

/// What they contain. `interface` may be nullptr.
std::string hosts_text(const std::string& hostname, const InterfacePlan* interface);
std::string resolv_conf_text(const InterfacePlan& interface);

}  // namespace lambdo::agent
