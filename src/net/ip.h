#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/error.h"
#include "net/addresses.h"
#include "net/link.h"
#include "net/netlink.h"

/// IPv4 addresses, routes, neighbours and forwarding entries of the socket's namespace. Everything here may
/// block (net/netlink.h), and errors name the interface.
namespace lambdo::net {

/// The broadcast address is the network's last.
Result<> add_address(NetlinkSocket& socket, const Link& link, Ipv4Subnet address);
/// The last address of a network takes its routes with it.
Result<> delete_address(NetlinkSocket& socket, const Link& link, Ipv4Subnet address);
/// In the order in which the kernel has them: the primary one first.
Result<std::vector<Ipv4Subnet>> list_addresses(NetlinkSocket& socket, const Link& link);

struct Route {
  Ipv4Subnet to;                       ///< 0.0.0.0/0 for the default route
  std::optional<Ipv4Address> gateway;  ///< none: reached directly
  int link_index = 0;

  bool operator==(const Route&) const = default;
};
/// In the main table.
Result<> add_route(NetlinkSocket& socket, const Route& route);
Result<> delete_route(NetlinkSocket& socket, const Route& route);
Result<std::vector<Route>> list_routes(NetlinkSocket& socket);

/// A neighbour that is never asked for and never forgotten: no ARP goes out for it. Replaces what is known.
Result<> set_neighbour(NetlinkSocket& socket, const Link& link, Ipv4Address address, MacAddress mac);
Result<> delete_neighbour(NetlinkSocket& socket, const Link& link, Ipv4Address address);
struct Neighbour {
  Ipv4Address address;
  MacAddress mac;

  bool operator==(const Neighbour&) const = default;
};
/// The permanent ones.
Result<std::vector<Neighbour>> list_neighbours(NetlinkSocket& socket, const Link& link);

/// The bridge sends what is for `mac` to this port and no other. Ends with the port.
Result<> add_forwarding_entry(NetlinkSocket& socket, const Link& port, MacAddress mac);
Result<> delete_forwarding_entry(NetlinkSocket& socket, const Link& port, MacAddress mac);

}  // namespace lambdo::net
