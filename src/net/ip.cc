#include "net/ip.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

#include "net/attributes.h"

namespace lambdo::net {

namespace {

uint8_t family_of(const IpAddress& address) {
  return address.is_ipv6() ? AF_INET6 : AF_INET;
}

void put(NetlinkMessage& message, uint16_t type, const IpAddress& address) {
  if (const auto* ipv6 = std::get_if<Ipv6Address>(&address.value)) {
    message.put_bytes(type, ipv6->bytes.data(), ipv6->bytes.size());
  } else {
    message.put_u32(type, htonl(std::get<Ipv4Address>(address.value).value));
  }
}

std::optional<IpAddress> address_in(const nlattr* attribute) {
  Ipv6Address ipv6;
  const size_t len_bytes = mnl_attr_get_payload_len(attribute);
  if (len_bytes == sizeof(uint32_t)) return Ipv4Address{ntohl(mnl_attr_get_u32(attribute))};
  if (len_bytes != ipv6.bytes.size()) return std::nullopt;
  std::memcpy(ipv6.bytes.data(), mnl_attr_get_payload(attribute), len_bytes);
  return ipv6;
}

NetlinkMessage address_message(uint16_t type, uint16_t flags, const Link& link, const IpSubnet& address) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ifaddrmsg>();
  fixed.ifa_family = family_of(address.address);
  fixed.ifa_prefixlen = address.prefix_len;
  fixed.ifa_flags = address.is_ipv6() ? IFA_F_NODAD : 0;
  fixed.ifa_scope = RT_SCOPE_UNIVERSE;
  fixed.ifa_index = static_cast<uint32_t>(link.index);
  put(message, IFA_LOCAL, address.address);
  put(message, IFA_ADDRESS, address.address);
  const auto* ipv4 = std::get_if<Ipv4Address>(&address.address.value);
  if (type == RTM_NEWADDR && ipv4 && address.prefix_len < 31) {
    put(message, IFA_BROADCAST, Ipv4Subnet{*ipv4, address.prefix_len}.broadcast());
  }
  return message;
}

/// The interface's own address in a message about it.
std::optional<IpAddress> local_address_in(const nlmsghdr& header) {
  std::optional<IpAddress> local;
  for_each_attribute(header, sizeof(ifaddrmsg), [&](const nlattr* attribute) {
    const uint16_t type = mnl_attr_get_type(attribute);
    // IPv6 has IFA_LOCAL only where IFA_ADDRESS is the other end's (net/ipv6/addrconf.c).
    if (type == IFA_LOCAL || (type == IFA_ADDRESS && !local)) local = address_in(attribute);
  });
  return local;
}

NetlinkMessage route_message(uint16_t type, uint16_t flags, const Route& route) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<rtmsg>();
  fixed.rtm_family = family_of(route.to.address);
  fixed.rtm_dst_len = route.to.prefix_len;
  fixed.rtm_table = RT_TABLE_MAIN;
  fixed.rtm_type = RTN_UNICAST;
  const bool adding = type == RTM_NEWROUTE;
  fixed.rtm_protocol = adding ? RTPROT_STATIC : RTPROT_UNSPEC;
  fixed.rtm_scope = !adding ? RT_SCOPE_NOWHERE : route.gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  put(message, RTA_DST, route.to.network());
  if (route.gateway) put(message, RTA_GATEWAY, *route.gateway);
  message.put_u32(RTA_OIF, static_cast<uint32_t>(route.link_index));
  return message;
}

/// The route in a message, if it is one of the main table to a place elsewhere.
std::optional<Route> route_in(const nlmsghdr& header) {
  const auto* fixed = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&header));
  if (header.nlmsg_type != RTM_NEWROUTE || fixed->rtm_table != RT_TABLE_MAIN ||
      fixed->rtm_type != RTN_UNICAST || (fixed->rtm_family != AF_INET && fixed->rtm_family != AF_INET6)) {
    return std::nullopt;
  }
  Route route;
  if (fixed->rtm_family == AF_INET6) route.to.address = Ipv6Address{};
  route.to.prefix_len = fixed->rtm_dst_len;
  for_each_attribute(header, sizeof(rtmsg), [&](const nlattr* attribute) {
    const uint16_t type = mnl_attr_get_type(attribute);
    if (type == RTA_DST) route.to.address = address_in(attribute).value_or(route.to.address);
    if (type == RTA_GATEWAY) route.gateway = address_in(attribute);
    if (type == RTA_OIF && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0) {
      route.link_index = static_cast<int>(mnl_attr_get_u32(attribute));
    }
  });
  return route;
}

NetlinkMessage neighbour_message(uint16_t type, uint16_t flags, const Link& link, const IpAddress& address) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ndmsg>();
  fixed.ndm_family = family_of(address);
  fixed.ndm_ifindex = link.index;
  fixed.ndm_state = NUD_PERMANENT;
  put(message, NDA_DST, address);
  return message;
}

Neighbour neighbour_in(const nlmsghdr& header) {
  Neighbour neighbour;
  for_each_attribute(header, sizeof(ndmsg), [&](const nlattr* attribute) {
    const uint16_t type = mnl_attr_get_type(attribute);
    if (type == NDA_DST) neighbour.address = address_in(attribute).value_or(IpAddress());
    if (type == NDA_LLADDR && mnl_attr_get_payload_len(attribute) == neighbour.mac.bytes.size()) {
      std::memcpy(neighbour.mac.bytes.data(), mnl_attr_get_payload(attribute), neighbour.mac.bytes.size());
    }
  });
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
  const auto each = [&](const nlmsghdr& header) {
    const auto* fixed = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&header));
    if (header.nlmsg_type != RTM_NEWADDR || fixed->ifa_index != static_cast<uint32_t>(link.index)) return;
    if (const auto address = local_address_in(header)) addresses.push_back({*address, fixed->ifa_prefixlen});
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
  const auto each = [&](const nlmsghdr& header) {
    if (const auto route = route_in(header)) routes.push_back(*route);
  };
  TRY(socket.dump(message, "list routes", each, [&] { routes.clear(); }));
  return routes;
}

Result<> set_neighbour(NetlinkSocket& socket, const Link& link, const IpAddress& address, MacAddress mac) {
  NetlinkMessage message = neighbour_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link, address);
  message.put_bytes(NDA_LLADDR, mac.bytes.data(), mac.bytes.size());
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
  const auto each = [&](const nlmsghdr& header) {
    const auto* fixed = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(&header));
    if (header.nlmsg_type != RTM_NEWNEIGH || fixed->ndm_ifindex != link.index ||
        (fixed->ndm_state & NUD_PERMANENT) == 0) {
      return;
    }
    neighbours.push_back(neighbour_in(header));
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
  message.put_bytes(NDA_LLADDR, mac.bytes.data(), mac.bytes.size());
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
