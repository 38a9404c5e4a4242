#include "net/link.h"

#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "base/syscalls.h"

namespace lambdo::net {

namespace {

NetlinkMessage creation(const std::string& name, MacAddress mac) {
  NetlinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.fixed_part<ifinfomsg>();
  message.put(IFLA_IFNAME, name);
  message.put_mac(IFLA_ADDRESS, mac);
  return message;
}

NetlinkMessage change(const Link& link) {
  NetlinkMessage message(RTM_NEWLINK, 0);
  message.fixed_part<ifinfomsg>().ifi_index = link.index;
  return message;
}

std::string kind_in(std::string_view linkinfo) {
  while (const auto attribute = take_attribute(linkinfo)) {
    if (attribute->type == IFLA_INFO_KIND) return attribute->text();
  }
  return "";
}

Link link_in(const NetlinkAnswer& answer) {
  Link link;
  const auto fixed = answer.fixed_part<ifinfomsg>();
  link.index = fixed.ifi_index;
  link.up = (fixed.ifi_flags & IFF_UP) != 0;
  link.running = (fixed.ifi_flags & IFF_RUNNING) != 0;
  std::string_view attributes = answer.attributes(sizeof fixed);
  while (const auto attribute = take_attribute(attributes)) {
    switch (attribute->type) {
      case IFLA_IFNAME:
        link.name = attribute->text();
        break;
      case IFLA_IFALIAS:
        link.alias = attribute->text();
        break;
      case IFLA_ADDRESS:
        link.mac = attribute->mac();
        break;
      case IFLA_MTU:
        link.mtu = attribute->u32();
        break;
      case IFLA_MASTER:
        link.master = static_cast<int>(attribute->u32());
        break;
      case IFLA_LINKINFO:
        link.kind = kind_in(attribute->payload);
        break;
      default:
        break;
    }
  }
  return link;
}

}  // namespace

Result<> check_link_name(std::string_view name) {
  static constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  if (name.empty() || name.size() >= IFNAMSIZ || name.front() == '.' || name.front() == '-' ||
      name.find_first_not_of(kAllowed) != std::string_view::npos) {
    return fail(Code::invalid_argument,
                "'" + std::string(name) + "' cannot be a network interface's name here; write 1 to 15 " +
                    "letters, digits, '_', '-' and '.', and none of the last two at the start");
  }
  return {};
}

Result<Link> create_bridge(NetlinkSocket& socket, const std::string& name, MacAddress mac) {
  TRY(check_link_name(name));
  NetlinkMessage message = creation(name, mac);
  nlattr* info = message.begin(IFLA_LINKINFO);
  message.put(IFLA_INFO_KIND, "bridge");
  nlattr* data = message.begin(IFLA_INFO_DATA);
  message.put_u32(IFLA_BR_STP_STATE, 0);
  message.put_u8(IFLA_BR_MCAST_SNOOPING, 0);
  message.end(data);
  message.end(info);
  TRY(socket.request(message, "create bridge " + name));
  return find_link(socket, name);
}

Result<Link> create_veth(NetlinkSocket& socket, const VethEnd& near, const VethEnd& far,
                         const Fd& far_namespace) {
  TRY(check_link_name(near.name));
  TRY(check_link_name(far.name));
  NetlinkMessage message = creation(near.name, near.mac);
  nlattr* info = message.begin(IFLA_LINKINFO);
  message.put(IFLA_INFO_KIND, "veth");
  nlattr* data = message.begin(IFLA_INFO_DATA);
  nlattr* peer = message.begin(VETH_INFO_PEER);
  message.extend(sizeof(ifinfomsg));
  message.put(IFLA_IFNAME, far.name);
  message.put_mac(IFLA_ADDRESS, far.mac);
  message.put_u32(IFLA_NET_NS_FD, static_cast<uint32_t>(far_namespace.get()));
  message.end(peer);
  message.end(data);
  message.end(info);
  TRY(socket.request(message, "create veth pair " + near.name + ", " + far.name));
  return find_link(socket, near.name);
}

Result<> delete_link(NetlinkSocket& socket, const Link& link) {
  NetlinkMessage message(RTM_DELLINK, 0);
  message.fixed_part<ifinfomsg>().ifi_index = link.index;
  return socket.request(message, "delete interface " + link.name);
}

Result<Link> find_link(NetlinkSocket& socket, std::string_view name) {
  TRY(check_link_name(name));
  NetlinkMessage message(RTM_GETLINK, 0);
  message.fixed_part<ifinfomsg>();
  message.put(IFLA_IFNAME, name);
  Link link;
  const auto each = [&](const NetlinkAnswer& answer) { link = link_in(answer); };
  TRY(socket.request(message, "network interface " + std::string(name), each));
  return link;
}

Result<std::vector<Link>> list_links(NetlinkSocket& socket, std::string_view prefix) {
  NetlinkMessage message(RTM_GETLINK, 0);
  message.fixed_part<ifinfomsg>().ifi_family = AF_UNSPEC;
  std::vector<Link> links;
  const auto each = [&](const NetlinkAnswer& answer) {
    if (answer.type != RTM_NEWLINK) return;
    Link link = link_in(answer);
    if (link.name.starts_with(prefix)) links.push_back(std::move(link));
  };
  TRY(socket.dump(message, "list network interfaces", each, [&] { links.clear(); }));
  return links;
}

Result<> set_up(NetlinkSocket& socket, const Link& link, bool up) {
  NetlinkMessage message(RTM_NEWLINK, 0);
  auto& fixed = message.fixed_part<ifinfomsg>();
  fixed.ifi_index = link.index;
  fixed.ifi_change = IFF_UP;
  fixed.ifi_flags = up ? IFF_UP : 0;
  return socket.request(message, (up ? "set up interface " : "set down interface ") + link.name);
}

Result<> wait_until_running(NetlinkSocket& socket, const Link& link, int limit_ms) {
  const long long deadline_ns = sys::monotonic_ns() + limit_ms * 1'000'000LL;
  while (!TRY(find_link(socket, link.name)).running) {
    if (sys::monotonic_ns() >= deadline_ns) {
      return fail(Code::timeout,
                  "interface " + link.name + " has no carrier after " + std::to_string(limit_ms) + " ms");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return {};
}

Result<> set_master(NetlinkSocket& socket, const Link& link, int master) {
  NetlinkMessage message = change(link);
  message.put_u32(IFLA_MASTER, static_cast<uint32_t>(master));
  return socket.request(message, "set the bridge of interface " + link.name);
}

Result<> set_port_flags(NetlinkSocket& socket, const Link& link, const PortFlags& flags) {
  NetlinkMessage message = change(link);
  nlattr* info = message.begin(IFLA_LINKINFO);
  message.put(IFLA_INFO_SLAVE_KIND, "bridge");
  nlattr* data = message.begin(IFLA_INFO_SLAVE_DATA);
  message.put_u8(IFLA_BRPORT_ISOLATED, flags.isolated);
  message.put_u8(IFLA_BRPORT_LEARNING, flags.learning);
  message.put_u8(IFLA_BRPORT_UNICAST_FLOOD, flags.unicast_flood);
  message.put_u8(IFLA_BRPORT_MCAST_FLOOD, flags.multicast_flood);
  message.put_u8(IFLA_BRPORT_BCAST_FLOOD, flags.broadcast_flood);
  message.put_u8(IFLA_BRPORT_NEIGH_SUPPRESS, flags.neigh_suppress);
  message.put_u8(IFLA_BRPORT_GUARD, flags.bpdu_guard);
  message.end(data);
  message.end(info);
  return socket.request(message, "set the port flags of interface " + link.name);
}

Result<> set_mac(NetlinkSocket& socket, const Link& link, MacAddress mac) {
  NetlinkMessage message = change(link);
  message.put_mac(IFLA_ADDRESS, mac);
  return socket.request(message, "set the Ethernet address of interface " + link.name);
}

Result<> set_mtu(NetlinkSocket& socket, const Link& link, uint32_t mtu) {
  NetlinkMessage message = change(link);
  message.put_u32(IFLA_MTU, mtu);
  return socket.request(message, "set the MTU of interface " + link.name);
}

Result<> set_alias(NetlinkSocket& socket, const Link& link, std::string_view alias) {
  NetlinkMessage message = change(link);
  message.put_bytes(IFLA_IFALIAS, alias);
  return socket.request(message, "set the alias of interface " + link.name);
}

/// No address made of the Ethernet address. By netlink, which works in containers too, where /proc/sys cannot
/// be written to.
static Result<> generate_no_address(NetlinkSocket& socket, const Link& link, const std::string& what) {
  NetlinkMessage message = change(link);
  nlattr* families = message.begin(IFLA_AF_SPEC);
  nlattr* ipv6 = message.begin(AF_INET6);
  message.put_u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
  message.end(ipv6);
  message.end(families);
  return socket.request(message, what + " IPv6 on interface " + link.name);
}

Result<> disable_ipv6(NetlinkSocket& socket, const Link& link) {
  // No address of its own first; rules drop the rest where the file cannot be written.
  const auto set = generate_no_address(socket, link, "switch off");
  const auto written = sys::write_file("/proc/sys/net/ipv6/conf/" + link.name + "/disable_ipv6", "1");
  if (written || written.error().os_errno == ENOENT) return {};
  return set;
}

Result<> enable_static_ipv6(NetlinkSocket& socket, const Link& link) {
  TRY(generate_no_address(socket, link, "static"));
  // As far as they can be written: rules drop advertisements, and an address that the kernel refuses is an
  // error of its own.
  for (const auto& [name, value] : {std::pair("disable_ipv6", "0"), {"accept_ra", "0"}, {"autoconf", "0"}}) {
    static_cast<void>(sys::write_file("/proc/sys/net/ipv6/conf/" + link.name + "/" + name, value));
  }
  return {};
}

}  // namespace lambdo::net
