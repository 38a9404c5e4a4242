// Says whether a bridge can have an IPv6 address that somebody wrote into a configuration.
#pragma once

#include "base/error.h"
#include "base/ip.h"

namespace lambdo::net {

/// Whether guests can have addresses of this network, and the bridge this one: a global or unique local
/// unicast address (RFC 4291, 4193), a prefix length of 1 to 96, as an IPv4 address has to have its place
/// behind it. Code::invalid_argument says what to write.
Result<> check_bridge_ipv6(const Ipv6Subnet& address);

}  // namespace lambdo::net
