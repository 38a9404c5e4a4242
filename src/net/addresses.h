// Sets and lists the kernel's addresses, routes, neighbours and forwarding entries (rtnetlink); which ones is
// the callers' business.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "base/netlink.h"
#include "net/link.h"

/// Addresses, routes and neighbours of IPv4 and IPv6, and forwarding entries, of the socket's namespace. What
/// is listed is of both families. Everything here may block (base/netlink.h), and errors name the interface.
namespace lambdo::net {

/// Of IPv4 the broadcast address is the network's last; of IPv6 it is at once usable, and nobody is asked
/// whether it is another's too.
Result<> add_address(NetlinkSocket& socket, const Link& link, const IpSubnet& address);
/// The last address of a network takes its routes with it.
Result<> delete_address(NetlinkSocket& socket, const Link& link, const IpSubnet& address);
/// In the order in which the kernel has them: of IPv4 the primary one first.
Result<std::vector<IpSubnet>> list_addresses(NetlinkSocket& socket, const Link& link);

struct Route {
  IpSubnet to;                       ///< 0.0.0.0/0 or ::/0 for a default route
  std::optional<IpAddress> gateway;  ///< none: reached directly
  int link_index = 0;

  bool operator==(const Route&) const = default;
};
/// In the main table.
Result<> add_route(NetlinkSocket& socket, const Route& route);
Result<std::vector<Route>> list_routes(NetlinkSocket& socket);

/// A neighbour that is never asked for and never forgotten: neither ARP nor neighbour discovery goes out for
/// it. Replaces what is known.
Result<> set_neighbour(NetlinkSocket& socket, const Link& link, const IpAddress& address, MacAddress mac);
Result<> delete_neighbour(NetlinkSocket& socket, const Link& link, const IpAddress& address);
struct Neighbour {
  IpAddress address;
  MacAddress mac;

  bool operator==(const Neighbour&) const = default;
};
/// The permanent ones.
Result<std::vector<Neighbour>> list_neighbours(NetlinkSocket& socket, const Link& link);

/// The bridge sends what is for `mac` to this port and no other. Ends with the port.
Result<> add_forwarding_entry(NetlinkSocket& socket, const Link& port, MacAddress mac);
Result<> delete_forwarding_entry(NetlinkSocket& socket, const Link& port, MacAddress mac);

}  // namespace lambdo::net
