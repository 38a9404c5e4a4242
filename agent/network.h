#pragma once

#include "agent/network_plan.h"

namespace lambdo::agent {

/// Makes the interface of `plan` what it says, and nothing more: it is taken down and up again, so that the
/// addresses, routes, neighbours and connections that it had are gone. There is no automatic configuration
/// of IPv6, and without an address of it no IPv6 at all. Needs CAP_NET_ADMIN, and for IPv6's settings a
/// writable /proc/sys where there is one. not_found: no such interface, with those that there are. After
/// another error the interface is half made; calling again starts over.
Result<> configure_interface(const InterfacePlan& plan);

}  // namespace lambdo::agent
