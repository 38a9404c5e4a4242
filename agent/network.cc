#include "agent/network.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "base/netlink.h"
#include "base/syscalls.h"

namespace lambdo::agent {

namespace {

// The kernel answers at once, but for what it does with interfaces: then it may wait for others.
constexpr int kAnswerLimitMs = 5000;

struct Link {
  int index = 0;
  std::string name;
  std::optional<MacAddress> mac;  ///< none: it is no Ethernet interface
};

Result<std::vector<Link>> list_links(NetlinkSocket& netlink) {
  NetlinkMessage message(RTM_GETLINK, 0);
  message.fixed_part<ifinfomsg>();
  std::vector<Link> links;
  const auto each = [&](const NetlinkAnswer& answer) {
    if (answer.type != RTM_NEWLINK) return;
    Link link{.index = answer.fixed_part<ifinfomsg>().ifi_index};
    std::string_view attributes = answer.attributes(sizeof(ifinfomsg));
    while (const auto attribute = take_attribute(attributes)) {
      if (attribute->type == IFLA_IFNAME) link.name = attribute->text();
      if (attribute->type == IFLA_ADDRESS && attribute->payload.size() == MacAddress::kBytes) {
        link.mac = attribute->mac();
      }
    }
    links.push_back(std::move(link));
  };
  TRY(netlink.dump(message, "list the interfaces", each, [&] { links.clear(); }));
  return links;
}

std::string shown(const std::vector<Link>& links) {
  std::string text;
  for (const Link& link : links) {
    if (!text.empty()) text += ", ";
    text += link.name;
    if (link.mac) text += " (" + link.mac->text() + ")";
  }
  return text;
}

Result<Link> find_link(NetlinkSocket& netlink, const InterfacePlan& plan) {
  const auto links = TRY(list_links(netlink));
  for (const Link& link : links) {
    if (plan.name.empty() ? link.mac == plan.mac : link.name == plan.name) return link;
  }
  // Configured before, but the answer may not have got through.
  for (const Link& link : links) {
    if (plan.new_mac && link.mac == plan.new_mac) return link;
  }
  const std::string wanted =
      plan.name.empty() ? "with the MAC address " + plan.mac.text() : "named " + plan.name;
  return fail(Code::not_found, "there is no interface " + wanted + "; there are " + shown(links));
}

Result<> set_link(NetlinkSocket& netlink, const Link& link, const InterfacePlan& plan, bool up) {
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.fixed_part<ifinfomsg>() = {
      .ifi_index = link.index, .ifi_flags = up ? unsigned{IFF_UP} : 0U, .ifi_change = IFF_UP};
  if (up && plan.new_mac) message.put_mac(IFLA_ADDRESS, *plan.new_mac);
  if (up && plan.mtu != 0) message.put_u32(IFLA_MTU, plan.mtu);
  return netlink.request(message, (up ? "bring up " : "take down ") + link.name);
}

/// The messages that remove the IPv4 addresses of an interface.
Result<std::vector<NetlinkMessage>> address_removals(NetlinkSocket& netlink, const Link& link) {
  NetlinkMessage question(RTM_GETADDR, 0);
  question.fixed_part<ifaddrmsg>().ifa_family = AF_INET;
  std::vector<NetlinkMessage> removals;
  const auto each = [&](const NetlinkAnswer& answer) {
    const auto fixed = answer.fixed_part<ifaddrmsg>();
    if (answer.type != RTM_NEWADDR || static_cast<int>(fixed.ifa_index) != link.index) return;
    NetlinkMessage& removal = removals.emplace_back(RTM_DELADDR, 0);
    removal.fixed_part<ifaddrmsg>() = fixed;
    std::string_view attributes = answer.attributes(sizeof fixed);
    while (const auto attribute = take_attribute(attributes)) {
      if (attribute->type != IFA_LOCAL && attribute->type != IFA_ADDRESS) continue;
      removal.put_bytes(attribute->type, attribute->payload);
    }
  };
  TRY(netlink.dump(question, "list the addresses", each, [&] { removals.clear(); }));
  return removals;
}

/// IPv4's; IPv6's have gone with the interface.
Result<> remove_addresses(NetlinkSocket& netlink, const Link& link) {
  std::vector<NetlinkMessage> removals = TRY(address_removals(netlink, link));
  for (NetlinkMessage& message : removals) {
    Result<> removed = netlink.request(message, "remove an address of " + link.name);
    // Went with the one before it, as secondary addresses do.
    if (!removed && removed.error().os_errno != EADDRNOTAVAIL) return removed;
  }
  return {};
}

Result<> add_address(NetlinkSocket& netlink, const Link& link, const InterfaceAddress& address) {
  const IpSubnet& subnet = address.subnet;
  const auto* ipv4 = std::get_if<Ipv4Address>(&subnet.address.value);
  NetlinkMessage message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  // Nobody else can have it: looking for duplicates would only keep it from being used for a second.
  message.fixed_part<ifaddrmsg>() = {.ifa_family = static_cast<uint8_t>(subnet.address.family()),
                                     .ifa_prefixlen = subnet.prefix_len,
                                     .ifa_flags = static_cast<uint8_t>(ipv4 != nullptr ? 0 : IFA_F_NODAD),
                                     .ifa_scope = RT_SCOPE_UNIVERSE,
                                     .ifa_index = static_cast<uint32_t>(link.index)};
  message.put_ip(IFA_LOCAL, subnet.address);
  message.put_ip(IFA_ADDRESS, subnet.address);
  // /31 and /32 have none (RFC 3021).
  if (ipv4 != nullptr && subnet.prefix_len < 31) {
    message.put_ip(IFA_BROADCAST, Ipv4Subnet{*ipv4, subnet.prefix_len}.broadcast());
  }
  return netlink.request(message, "add " + subnet.text() + " to " + link.name);
}

Result<> add_default_route(NetlinkSocket& netlink, const Link& link, const InterfaceAddress& address) {
  const IpAddress& gateway = *address.gateway;
  NetlinkMessage message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  auto& fixed = message.fixed_part<rtmsg>();
  fixed = {.rtm_family = static_cast<uint8_t>(gateway.family()),
           .rtm_table = RT_TABLE_MAIN,
           .rtm_protocol = RTPROT_STATIC,
           .rtm_scope = RT_SCOPE_UNIVERSE,
           .rtm_type = RTN_UNICAST};
  // Where the host routes to each guest by itself there is no common network.
  if (!address.subnet.contains(gateway)) fixed.rtm_flags = RTNH_F_ONLINK;
  message.put_ip(RTA_GATEWAY, gateway);
  message.put_u32(RTA_OIF, static_cast<uint32_t>(link.index));
  return netlink.request(message, "default route of " + link.name + " by " + gateway.text());
}

/// So that nobody asks for the gateway, on a link where such questions and answers do not pass.
Result<> add_gateway_neighbour(NetlinkSocket& netlink, const Link& link, const InterfaceAddress& address) {
  const IpAddress& gateway = *address.gateway;
  NetlinkMessage message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  message.fixed_part<ndmsg>() = {.ndm_family = static_cast<uint8_t>(gateway.family()),
                                 .ndm_ifindex = link.index,
                                 .ndm_state = NUD_PERMANENT};
  message.put_ip(NDA_DST, gateway);
  message.put_mac(NDA_LLADDR, *address.gateway_mac);
  return netlink.request(message, "neighbour " + gateway.text() + " of " + link.name);
}

/// While it is down. Where the kernel has no IPv6 there are no such files, and nothing to be kept quiet.
void set_ipv6(const Link& link, const InterfacePlan& plan) {
  bool wanted = false;
  // With a gateway that is known nothing is discovered, and an address for doing so is of no use.
  bool discovers = true;
  for (const InterfaceAddress& address : plan.addresses) {
    if (!address.subnet.is_ipv6()) continue;
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
  NetlinkSocket netlink = TRY(NetlinkSocket::open(NETLINK_ROUTE, kAnswerLimitMs));
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
