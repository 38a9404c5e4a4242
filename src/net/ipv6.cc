#include "net/ipv6.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>

#include "net/attributes.h"

namespace lambdo::net {

namespace {

void put(NetlinkMessage& message, uint16_t type, const Ipv6Address& address) {
  message.put_bytes(type, address.bytes.data(), address.bytes.size());
}

Ipv6Address address_in(const nlattr* attribute) {
  Ipv6Address address;
  if (mnl_attr_get_payload_len(attribute) == address.bytes.size()) {
    std::memcpy(address.bytes.data(), mnl_attr_get_payload(attribute), address.bytes.size());
  }
  return address;
}

NetlinkMessage address_message(uint16_t type, uint16_t flags, const Link& link, const Ipv6Subnet& address) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ifaddrmsg>();
  fixed.ifa_family = AF_INET6;
  fixed.ifa_prefixlen = address.prefix_len;
  fixed.ifa_flags = IFA_F_NODAD;
  fixed.ifa_scope = RT_SCOPE_UNIVERSE;
  fixed.ifa_index = static_cast<uint32_t>(link.index);
  put(message, IFA_LOCAL, address.address);
  put(message, IFA_ADDRESS, address.address);
  return message;
}

NetlinkMessage neighbour_message(uint16_t type, uint16_t flags, const Link& link) {
  NetlinkMessage message(type, flags);
  auto& fixed = message.fixed_part<ndmsg>();
  fixed.ndm_family = AF_INET6;
  fixed.ndm_ifindex = link.index;
  fixed.ndm_state = NUD_PERMANENT;
  return message;
}

Ipv6Neighbour neighbour_in(const nlmsghdr& header) {
  Ipv6Neighbour neighbour;
  for_each_attribute(header, sizeof(ndmsg), [&](const nlattr* attribute) {
    const uint16_t type = mnl_attr_get_type(attribute);
    if (type == NDA_DST) neighbour.address = address_in(attribute);
    if (type == NDA_LLADDR && mnl_attr_get_payload_len(attribute) == neighbour.mac.bytes.size()) {
      std::memcpy(neighbour.mac.bytes.data(), mnl_attr_get_payload(attribute), neighbour.mac.bytes.size());
    }
  });
  return neighbour;
}

}  // namespace

Result<> add_address(NetlinkSocket& socket, const Link& link, const Ipv6Subnet& address) {
  NetlinkMessage message = address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, link, address);
  return socket.request(message, "add address " + address.text() + " to interface " + link.name);
}

Result<> delete_address(NetlinkSocket& socket, const Link& link, const Ipv6Subnet& address) {
  NetlinkMessage message = address_message(RTM_DELADDR, 0, link, address);
  return socket.request(message, "delete address " + address.text() + " of interface " + link.name);
}

Result<std::vector<Ipv6Subnet>> list_ipv6_addresses(NetlinkSocket& socket, const Link& link) {
  NetlinkMessage message(RTM_GETADDR, 0);
  message.fixed_part<ifaddrmsg>().ifa_family = AF_INET6;
  std::vector<Ipv6Subnet> addresses;
  const auto each = [&](const nlmsghdr& header) {
    const auto* fixed = static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&header));
    if (header.nlmsg_type != RTM_NEWADDR || fixed->ifa_index != static_cast<uint32_t>(link.index)) return;
    for_each_attribute(header, sizeof(ifaddrmsg), [&](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) != IFA_ADDRESS) return;
      addresses.push_back({address_in(attribute), fixed->ifa_prefixlen});
    });
  };
  TRY(socket.dump(message, "list addresses of interface " + link.name, each, [&] { addresses.clear(); }));
  return addresses;
}

Result<> add_default_route(NetlinkSocket& socket, const Link& link, const Ipv6Address& gateway) {
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  auto& fixed = message.fixed_part<rtmsg>();
  fixed.rtm_family = AF_INET6;
  fixed.rtm_table = RT_TABLE_MAIN;
  fixed.rtm_protocol = RTPROT_STATIC;
  fixed.rtm_scope = RT_SCOPE_UNIVERSE;
  fixed.rtm_type = RTN_UNICAST;
  put(message, RTA_GATEWAY, gateway);
  message.put_u32(RTA_OIF, static_cast<uint32_t>(link.index));
  return socket.request(message, "add default route by " + gateway.text());
}

Result<std::vector<Ipv6Subnet>> list_ipv6_networks(NetlinkSocket& socket) {
  NetlinkMessage message(RTM_GETROUTE, 0);
  message.fixed_part<rtmsg>().rtm_family = AF_INET6;
  std::vector<Ipv6Subnet> networks;
  const auto each = [&](const nlmsghdr& header) {
    const auto* fixed = static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&header));
    if (header.nlmsg_type != RTM_NEWROUTE || fixed->rtm_family != AF_INET6 || fixed->rtm_dst_len == 0 ||
        fixed->rtm_table != RT_TABLE_MAIN || fixed->rtm_type != RTN_UNICAST) {
      return;
    }
    for_each_attribute(header, sizeof(rtmsg), [&](const nlattr* attribute) {
      if (mnl_attr_get_type(attribute) != RTA_DST) return;
      networks.push_back({address_in(attribute), fixed->rtm_dst_len});
    });
  };
  TRY(socket.dump(message, "list IPv6 routes", each, [&] { networks.clear(); }));
  return networks;
}

Result<> set_neighbour(NetlinkSocket& socket, const Link& link, const Ipv6Address& address, MacAddress mac) {
  NetlinkMessage message = neighbour_message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link);
  put(message, NDA_DST, address);
  message.put_bytes(NDA_LLADDR, mac.bytes.data(), mac.bytes.size());
  return socket.request(message, "set neighbour " + address.text() + " on interface " + link.name);
}

Result<> delete_neighbour(NetlinkSocket& socket, const Link& link, const Ipv6Address& address) {
  NetlinkMessage message = neighbour_message(RTM_DELNEIGH, 0, link);
  put(message, NDA_DST, address);
  return socket.request(message, "delete neighbour " + address.text() + " on interface " + link.name);
}

Result<std::vector<Ipv6Neighbour>> list_ipv6_neighbours(NetlinkSocket& socket, const Link& link) {
  NetlinkMessage message(RTM_GETNEIGH, 0);
  message.fixed_part<ndmsg>().ndm_family = AF_INET6;
  std::vector<Ipv6Neighbour> neighbours;
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

}  // namespace lambdo::net
