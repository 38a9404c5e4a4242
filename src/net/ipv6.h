#pragma once

#include <vector>

#include "base/error.h"
#include "net/addresses.h"
#include "net/link.h"
#include "net/netlink.h"

/// IPv6 addresses, routes and neighbours of the socket's namespace, as net/ip.h has them of IPv4. Everything
/// here may block (net/netlink.h), and errors name the interface.
namespace lambdo::net {

/// At once usable: nobody is asked whether it is another's too.
Result<> add_address(NetlinkSocket& socket, const Link& link, const Ipv6Subnet& address);
Result<> delete_address(NetlinkSocket& socket, const Link& link, const Ipv6Subnet& address);
Result<std::vector<Ipv6Subnet>> list_ipv6_addresses(NetlinkSocket& socket, const Link& link);

/// In the main table.
Result<> add_default_route(NetlinkSocket& socket, const Link& link, const Ipv6Address& gateway);
/// What the routes of the main table lead to, but for default ones.
Result<std::vector<Ipv6Subnet>> list_ipv6_networks(NetlinkSocket& socket);

/// A neighbour that is never asked for and never forgotten: no neighbour discovery goes out for it. Replaces
/// what is known.
Result<> set_neighbour(NetlinkSocket& socket, const Link& link, const Ipv6Address& address, MacAddress mac);
Result<> delete_neighbour(NetlinkSocket& socket, const Link& link, const Ipv6Address& address);
struct Ipv6Neighbour {
  Ipv6Address address;
  MacAddress mac;

  bool operator==(const Ipv6Neighbour&) const = default;
};
/// The permanent ones.
Result<std::vector<Ipv6Neighbour>> list_ipv6_neighbours(NetlinkSocket& socket, const Link& link);

}  // namespace lambdo::net
