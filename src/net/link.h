// Makes, changes, finds and removes network interfaces (rtnetlink): bridges, veth pairs, their MTU and port
// flags.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "base/mac_address.h"
#include "base/netlink.h"

/// Network interfaces of the socket's namespace. Everything here may block (base/netlink.h), and errors name
/// the interface.
namespace lambdo::net {

/// An interface as the kernel tells it.
struct Link {
  int index = 0;
  std::string name;
  std::string alias;  ///< for people: ip link shows it
  std::string kind;   ///< "bridge", "veth", "tun"; "" for hardware
  MacAddress mac;
  uint32_t mtu = 0;
  int master = 0;  ///< the index of the bridge that it is a port of, 0 for none
  bool up = false;
  bool running = false;  ///< up, with a carrier, and the kernel sends
};

/// A bridge port's ways. The defaults are those of a guest's port: it speaks to the host only, and what the
/// bridge does not know to be for it never reaches it.
struct PortFlags {
  bool isolated = true;
  bool learning = false;
  bool unicast_flood = false;
  bool multicast_flood = false;
  bool broadcast_flood = false;
  bool neigh_suppress = false;
  bool bpdu_guard = true;
};

struct VethEnd {
  std::string name;
  MacAddress mac;
};

/// The kernel's rule for names (dev_valid_name, net/core/dev.c), and of what it permits only letters, digits,
/// '.', '_' and '-': names are written into rules, paths and journals.
Result<> check_link_name(std::string_view name);

/// Without spanning tree and multicast snooping. Down.
Result<Link> create_bridge(NetlinkSocket& socket, const std::string& name, MacAddress mac);
/// A pair of interfaces: `near` here, `far` in the namespace `far_namespace` (a descriptor of its
/// /proc/PID/ns/net). Both down.
Result<Link> create_veth(NetlinkSocket& socket, const VethEnd& near, const VethEnd& far,
                         const Fd& far_namespace);
Result<> delete_link(NetlinkSocket& socket, const Link& link);

/// Code::not_found where there is none.
Result<Link> find_link(NetlinkSocket& socket, std::string_view name);
/// Those whose name starts with `prefix`; all for "".
Result<std::vector<Link>> list_links(NetlinkSocket& socket, std::string_view prefix);

Result<> set_up(NetlinkSocket& socket, const Link& link, bool up);
/// Waits until what is sent to this interface is not lost: the kernel takes up to a second to notice that a
/// bridge has got its first port. Code::timeout after `limit_ms`.
Result<> wait_until_running(NetlinkSocket& socket, const Link& link, int limit_ms);
/// `master` is a bridge's index, or 0 for none.
Result<> set_master(NetlinkSocket& socket, const Link& link, int master);
/// For a bridge's port.
Result<> set_port_flags(NetlinkSocket& socket, const Link& link, const PortFlags& flags);
Result<> set_mac(NetlinkSocket& socket, const Link& link, MacAddress mac);
Result<> set_mtu(NetlinkSocket& socket, const Link& link, uint32_t mtu);
Result<> set_alias(NetlinkSocket& socket, const Link& link, std::string_view alias);
/// No IPv6 on this interface: neither an address made by the kernel nor any traffic. A kernel without IPv6
/// has nothing to switch off.
Result<> disable_ipv6(NetlinkSocket& socket, const Link& link);
/// IPv6 with the addresses that somebody gives it and no other: none made by the kernel, none advertised by
/// routers. Before it is up. An error where the kernel has no IPv6.
Result<> enable_static_ipv6(NetlinkSocket& socket, const Link& link);

}  // namespace lambdo::net
