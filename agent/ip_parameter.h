#pragma once

#include <optional>
#include <string_view>

#include "agent/network_plan.h"
#include "base/error.h"

namespace lambdo::agent {

/// The last `ip=` of a kernel's command line; nullopt where there is none.
std::optional<std::string_view> find_ip_parameter(std::string_view command_line);

/// What `ip=CLIENT:SERVER:GATEWAY:NETMASK:NAME:DEVICE:AUTOCONF...` says (Linux,
/// admin-guide/nfs/nfsroot.rst), as far as it is static: client, netmask and device must be there, and
/// AUTOCONF empty, "off" or "none". Server, name and what follows are not looked at.
Result<InterfacePlan> parse_ip_parameter(std::string_view value);

}  // namespace lambdo::agent
