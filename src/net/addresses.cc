#include "net/addresses.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <string>

namespace lambdo::net {

namespace {

NetlinkMessage address_message(uint16_t type, uint16_t flags, const Link& link, const IpSubnet& address) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ifaddrmsg>();
  fixed.ifa_family = static_cast<uint8_t>(address.address.family());
  fixed.ifa_prefixlen = address.prefix_len;
  fixed.ifa_flags = address.is_ipv6() ? IFA_F_NODAD : 0;
  fixed.ifa_scope = RT_SCOPE_UNIVERSE;
  fixed.ifa_index = static_cast<uint32_t>(link.index);
  message.put_ip(IFA_LOCAL, address.address);
  message.put_ip(IFA_ADDRESS, address.address);
  const auto* ipv4 = std::get_if<Ipv4Address>(&address.address.value);
  if (type == RTM_NEWADDR && ipv4 && address.prefix_len < 31) {
    message.put_ip(IFA_BROADCAST, Ipv4Subnet{*ipv4, address.prefix_len}.broadcast());
  }
  return message;
}

/// The interface's own address in a message about it.
std::optional<IpAddress> local_address_in(const NetlinkAnswer& answer) {
  std::optional<IpAddress> local;
  std::string_view attributes = answer.attributes(sizeof(ifaddrmsg));
  while (const auto attribute = take_attribute(attributes)) {
    // IPv6 has IFA_LOCAL only where IFA_ADDRESS is the other end's (net/ipv6/addrconf.c).
    if (attribute->type == IFA_LOCAL || (attribute->type == IFA_ADDRESS && !local)) local = attribute->ip();
  }
  return local;
}

NetlinkMessage route_message(uint16_t type, uint16_t flags, const Route& route) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<rtmsg>();
  fixed.rtm_family = static_cast<uint8_t>(route.to.address.family());
  fixed.rtm_dst_len = route.to.prefix_len;
  fixed.rtm_table = RT_TABLE_MAIN;
  fixed.rtm_type = RTN_UNICAST;
  const bool adding = type == RTM_NEWROUTE;
  fixed.rtm_protocol = adding ? RTPROT_STATIC : RTPROT_UNSPEC;
  fixed.rtm_scope = !adding ? RT_SCOPE_NOWHERE : route.gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  message.put_ip(RTA_DST, route.to.network());
  if (route.gateway) message.put_ip(RTA_GATEWAY, *route.gateway);
  message.put_u32(RTA_OIF, static_cast<uint32_t>(route.link_index));
  return message;
}

/// The route in a message, if it is one of the main table to a place elsewhere.
std::optional<Route> route_in(const NetlinkAnswer& answer) {
  const auto fixed = answer.fixed_part<rtmsg>();
  if (answer.type != RTM_NEWROUTE || fixed.rtm_table != RT_TABLE_MAIN || fixed.rtm_type != RTN_UNICAST ||
      (fixed.rtm_family != AF_INET && fixed.rtm_family != AF_INET6)) {
    return std::nullopt;
  }
  Route route;
  if (fixed.rtm_family == AF_INET6) route.to.address = Ipv6Address{};
  route.to.prefix_len = fixed.rtm_dst_len;
  std::string_view attributes = answer.attributes(sizeof fixed);
  while (const auto attribute = take_attribute(attributes)) {
    if (attribute->type == RTA_DST) route.to.address = attribute->ip().value_or(route.to.address);
    if (attribute->type == RTA_GATEWAY) route.gateway = attribute->ip();
    if (attribute->type == RTA_OIF) route.link_index = static_cast<int>(attribute->u32());
  }
  return route;
}

NetlinkMessage neighbour_message(uint16_t type, uint16_t flags, const Link& link, const IpAddress& address) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ndmsg>();
  fixed.ndm_family = static_cast<uint8_t>(address.family());
  fixed.ndm_ifindex = link.index;
  fixed.ndm_state = NUD_PERMANENT;
  message.put_ip(NDA_DST, address);
  return message;
}

Neighbour neighbour_in(const NetlinkAnswer& answer) {
  Neighbour neighbour;
  std::string_view attributes = answer.attributes(sizeof(ndmsg));
  while (const auto attribute = take_attribute(attributes)) {
    if (attribute->type == NDA_DST) neighbour.address = attribute->ip().value_or(IpAddress());
    if (attribute->type == NDA_LLADDR) neighbour.mac = attribute->mac();
  }
  return neighbour;
}

}  // namespace

Result<> add_address(NetlinkSocket& socket, const Link& link, const IpSubnet& address) {
  NetlinkMessage message = address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, link, address);
  return socket.request(message, "add address " + address.text() + " to interface " + link.name);
}

Result<> delete_address(NetlinkSocket& socket, const Link& link, const IpSubnet& address) {
  NetlinkMessage message = address_message(RTM_DELADDR, 0, link, address);
  return socket.request(message, "delete address " + address.text() + " of interface " + link.name);
}

Result<std::vector<IpSubnet>> list_addresses(NetlinkSocket& socket, const Link& link) {
  NetlinkMessage message(RTM_GETADDR, 0);
  message.fixed_part<ifaddrmsg>().ifa_family = AF_UNSPEC;
  std::vector<IpSubnet> addresses;
  const auto each = [&](const NetlinkAnswer& answer) {
    const auto fixed = answer.fixed_part<ifaddrmsg>();
    if (answer.type != RTM_NEWADDR || fixed.ifa_index != static_cast<uint32_t>(link.index)) return;
    if (const auto address = local_address_in(answer)) addresses.push_back({*address, fixed.ifa_prefixlen});
  };
  TRY(socket.dump(message, "list addresses of interface " + link.name, each, [&] { addresses.clear(); }));
  return addresses;
}

Result<> add_route(NetlinkSocket& socket, const Route& route) {
  NetlinkMessage message = route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, route);
  return socket.request(message, "add route to " + route.to.text());
}

Result<std::vector<Route>> list_routes(NetlinkSocket& socket) {
  NetlinkMessage message(RTM_GETROUTE, 0);
  message.fixed_part<rtmsg>().rtm_family = AF_UNSPEC;
  std::vector<Route> routes;
  const auto each = [&](const NetlinkAnswer& answer) {
    if (const auto route = route_in(answer)) routes.push_back(*route);
  };
  TRY(socket.dump(message, "list routes", each, [&] { routes.clear(); }));
  return routes;
}

Result<> set_neighbour(NetlinkSocket& socket, const Link& link, const IpAddress& address, MacAddress mac) {
  NetlinkMessage message = neighbour_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link, address);
  message.put_mac(NDA_LLADDR, mac);
  return socket.request(message, "set neighbour " + address.text() + " on interface " + link.name);
}

Result<> delete_neighbour(NetlinkSocket& socket, const Link& link, const IpAddress& address) {
  NetlinkMessage message = neighbour_message(RTM_DELNEIGH, 0, link, address);
  return socket.request(message, "delete neighbour " + address.text() + " on interface " + link.name);
}

Result<std::vector<Neighbour>> list_neighbours(NetlinkSocket& socket, const Link& link) {
  NetlinkMessage message(RTM_GETNEIGH, 0);
  message.fixed_part<ndmsg>().ndm_family = AF_UNSPEC;
  std::vector<Neighbour> neighbours;
  const auto each = [&](const NetlinkAnswer& answer) {
    const auto fixed = answer.fixed_part<ndmsg>();
    if (answer.type != RTM_NEWNEIGH || fixed.ndm_ifindex != link.index ||
        (fixed.ndm_state & NUD_PERMANENT) == 0) {
      return;
    }
    neighbours.push_back(neighbour_in(answer));
  };
  TRY(socket.dump(message, "list neighbours on interface " + link.name, each, [&] { neighbours.clear(); }));
  return neighbours;
}

static NetlinkMessage forwarding_message(uint16_t type, uint16_t flags, const Link& port, MacAddress mac) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ndmsg>();
  fixed.ndm_family = AF_BRIDGE;
  fixed.ndm_ifindex = port.index;
  // Permanent would make it an address of the host's own (net/bridge/br_fdb.c).
  fixed.ndm_state = NUD_NOARP;
  fixed.ndm_flags = NTF_MASTER;
  message.put_mac(NDA_LLADDR, mac);
  return message;
}

Result<> add_forwarding_entry(NetlinkSocket& socket, const Link& port, MacAddress mac) {
  NetlinkMessage message = forwarding_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_EXCL, port, mac);
  return socket.request(message, "add forwarding entry " + mac.text() + " to interface " + port.name);
}

Result<> delete_forwarding_entry(NetlinkSocket& socket, const Link& port, MacAddress mac) {
  NetlinkMessage message = forwarding_message(RTM_DELNEIGH, 0, port, mac);
  return socket.request(message, "delete forwarding entry " + mac.text() + " of interface " + port.name);
}

}  // namespace lambdo::net
