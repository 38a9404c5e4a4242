#pragma once

#include "base/ip.h"

namespace lambdo::http {

/// The client's verdict on where a request or a redirect leads: whether the address is a host's own, or of
/// its networks. These are loopback, private, link-local, shared, unspecified, multicast and the other ranges
/// that the Internet does not route (base/special_networks.h). IPv6 addresses that stand for an IPv4 address
/// are judged by it.
bool is_private(const IpAddress& address);

}  // namespace lambdo::http
