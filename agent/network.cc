#include "agent/network.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "agent/netlink.h"
#include "base/syscalls.h"

namespace lambdo::agent {

namespace {

struct Link {
  int index = 0;
  std::string name;
  std::string mac;  ///< its bytes; six for Ethernet
};

std::string_view bytes_of(const MacAddress& mac) {
  return {reinterpret_cast<const char*>(mac.data()), mac.size()};
}

Result<std::vector<Link>> list_links(Netlink& netlink) {
  const auto parts = TRY(netlink.dump({RTM_GETLINK, 0, ifinfomsg{}}, "list the interfaces"));
  std::vector<Link> links;
  for (const NetlinkPart& part : parts) {
    const auto header = part.header<ifinfomsg>();
    if (part.type() != RTM_NEWLINK || !header) continue;
    std::string name(part.attribute(sizeof *header, IFLA_IFNAME).value_or(""));
    if (!name.empty() && name.back() == '\0') name.pop_back();
    links.push_back({.index = header->ifi_index,
                     .name = std::move(name),
                     .mac = std::string(part.attribute(sizeof *header, IFLA_ADDRESS).value_or(""))});
  }
  return links;
}

std::string shown(const std::vector<Link>& links) {
  std::string text;
  for (const Link& link : links) {
    if (!text.empty()) text += ", ";
    text += link.name;
    MacAddress mac{};
    if (link.mac.size() != mac.size()) continue;
    std::memcpy(mac.data(), link.mac.data(), mac.size());
    text += " (" + to_text(mac) + ")";
  }
  return text;
}

Result<Link> find_link(Netlink& netlink, const InterfacePlan& plan) {
  const auto links = TRY(list_links(netlink));
  for (const Link& link : links) {
    if (plan.name.empty() ? link.mac == bytes_of(plan.mac) : link.name == plan.name) return link;
  }
  // Configured before, but the answer may not have got through.
  for (const Link& link : links) {
    if (plan.new_mac && link.mac == bytes_of(*plan.new_mac)) return link;
  }
  const std::string wanted =
      plan.name.empty() ? "with the MAC address " + to_text(plan.mac) : "named " + plan.name;
  return fail(Code::not_found, "there is no interface " + wanted + "; there are " + shown(links));
}

Result<> set_link(Netlink& netlink, const Link& link, const InterfacePlan& plan, bool up) {
  NetlinkMessage message(
      RTM_NEWLINK, 0,
      ifinfomsg{.ifi_index = link.index, .ifi_flags = up ? unsigned{IFF_UP} : 0U, .ifi_change = IFF_UP});
  if (up && plan.new_mac) message.put(IFLA_ADDRESS, bytes_of(*plan.new_mac));
  if (up && plan.mtu != 0) message.put_u32(IFLA_MTU, plan.mtu);
  return netlink.change(std::move(message), (up ? "bring up " : "take down ") + link.name);
}

/// IPv4's; IPv6's have gone with the interface.
Result<> remove_addresses(Netlink& netlink, const Link& link) {
  const auto parts =
      TRY(netlink.dump({RTM_GETADDR, 0, ifaddrmsg{.ifa_family = AF_INET}}, "list the addresses"));
  for (const NetlinkPart& part : parts) {
    const auto header = part.header<ifaddrmsg>();
    if (part.type() != RTM_NEWADDR || !header || static_cast<int>(header->ifa_index) != link.index) continue;
    NetlinkMessage message(RTM_DELADDR, 0, *header);
    for (const uint16_t name : {IFA_LOCAL, IFA_ADDRESS}) {
      if (const auto value = part.attribute(sizeof *header, name)) message.put(name, *value);
    }
    Result<> removed = netlink.change(std::move(message), "remove an address of " + link.name);
    // Went with the one before it, as secondary addresses do.
    if (!removed && removed.error().os_errno != EADDRNOTAVAIL) return removed;
  }
  return {};
}

std::string broadcast_of(const InterfaceAddress& address) {
  std::string bytes(address.address.view());
  for (unsigned bit = address.prefix_bits; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] | 0x80 >> bit % 8);
  }
  return bytes;
}

Result<> add_address(Netlink& netlink, const Link& link, const InterfaceAddress& address) {
  const std::string_view bytes = address.address.view();
  const bool is_v4 = address.address.family == AF_INET;
  // Nobody else can have it: looking for duplicates would only keep it from being used for a second.
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
                         ifaddrmsg{.ifa_family = static_cast<uint8_t>(address.address.family),
                                   .ifa_prefixlen = static_cast<uint8_t>(address.prefix_bits),
                                   .ifa_flags = static_cast<uint8_t>(is_v4 ? 0 : IFA_F_NODAD),
                                   .ifa_scope = RT_SCOPE_UNIVERSE,
                                   .ifa_index = static_cast<uint32_t>(link.index)});
  message.put(IFA_LOCAL, bytes);
  message.put(IFA_ADDRESS, bytes);
  // /31 and /32 have none (RFC 3021).
  if (is_v4 && address.prefix_bits < 31) message.put(IFA_BROADCAST, broadcast_of(address));
  return netlink.change(std::move(message), "add " + address.address.text() + "/" +
                                                std::to_string(address.prefix_bits) + " to " + link.name);
}

Result<> add_default_route(Netlink& netlink, const Link& link, const InterfaceAddress& address) {
  const IpAddress& gateway = *address.gateway;
  rtmsg header{.rtm_family = static_cast<uint8_t>(gateway.family),
               .rtm_table = RT_TABLE_MAIN,
               .rtm_protocol = RTPROT_STATIC,
               .rtm_scope = RT_SCOPE_UNIVERSE,
               .rtm_type = RTN_UNICAST};
  // Where the host routes to each guest by itself there is no common network.
  if (!gateway.is_in(address.address, address.prefix_bits)) header.rtm_flags = RTNH_F_ONLINK;
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header);
  message.put(RTA_GATEWAY, gateway.view());
  message.put_u32(RTA_OIF, static_cast<uint32_t>(link.index));
  return netlink.change(std::move(message), "default route of " + link.name + " by " + gateway.text());
}

/// So that nobody asks for the gateway, on a link where such questions and answers do not pass.
Result<> add_gateway_neighbour(Netlink& netlink, const Link& link, const InterfaceAddress& address) {
  const IpAddress& gateway = *address.gateway;
  NetlinkMessage message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE,
                         ndmsg{.ndm_family = static_cast<uint8_t>(gateway.family),
                               .ndm_ifindex = link.index,
                               .ndm_state = NUD_PERMANENT});
  message.put(NDA_DST, gateway.view());
  message.put(NDA_LLADDR, bytes_of(*address.gateway_mac));
  return netlink.change(std::move(message), "neighbour " + gateway.text() + " of " + link.name);
}

/// While it is down. Where the kernel has no IPv6 there are no such files, and nothing to be kept quiet.
void set_ipv6(const Link& link, const InterfacePlan& plan) {
  bool wanted = false;
  // With a gateway that is known nothing is discovered, and an address for doing so is of no use.
  bool discovers = true;
  for (const InterfaceAddress& address : plan.addresses) {
    if (address.address.family != AF_INET6) continue;
    wanted = true;
    discovers = !address.gateway_mac;
  }
  const std::string folder = "/proc/sys/net/ipv6/conf/" + link.name + "/";
  const std::pair<const char*, const char*> settings[] = {
      {"disable_ipv6", wanted ? "0" : "1"},
      {"addr_gen_mode", discovers ? "0" : "1"},  // IN6_ADDR_GEN_MODE_EUI64, _NONE
      {"accept_ra", "0"},
      {"accept_dad", "0"}};
  for (const auto& [name, value] : settings) (void)sys::write_file(folder + name, value);
}

}  // namespace

Result<> configure_interface(const InterfacePlan& plan) {
  Netlink netlink = TRY(Netlink::open());
  const Link link = TRY(find_link(netlink, plan));
  TRY(set_link(netlink, link, plan, false));
  TRY(remove_addresses(netlink, link));
  set_ipv6(link, plan);
  TRY(set_link(netlink, link, plan, true));
  for (const InterfaceAddress& address : plan.addresses) TRY(add_address(netlink, link, address));
  for (const InterfaceAddress& address : plan.addresses) {
    if (!address.gateway) continue;
    if (address.gateway_mac) TRY(add_gateway_neighbour(netlink, link, address));
    TRY(add_default_route(netlink, link, address));
  }
  return {};
}

}  // namespace lambdo::agent
