#include "net/ruleset.h"

#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/special_networks.h"
#include "net/policy.h"

namespace lambdo::net {

namespace {

// Lines with $6 in front are there for guests with IPv6 only. None of these has to discover a neighbour or to
// be told of a router: what links and routers say to each other (RFC 4443, 4861, 2710, 3810, 3971, 4286)
// never passes a port, in either direction.

// Ethernet. A guest's frame is its own (port, Ethernet and IPv4 address), is IPv4 or ARP, and is for the
// host; a frame to a guest is for it alone. "ether type" and not "ip saddr" alone: the first sees a VLAN tag.
//
// Bridges hand frames to 01:80:c2:00:00:0x (LLDP and others) to the port's own interface, past prerouting
// (the table of family arp drops those). Neither connection tracking nor the bridge's name are known in this
// family where the kernel is built without them, so what needs either stands in the other table.
constexpr std::string_view kBridgeTable = R"(
table bridge $TABLE {
  set identities { type ifname . ether_addr . ipv4_addr; }
  set sent { type ifname . ether_addr . ipv4_addr; counter; }
  set received { type ifname . ether_addr . ipv4_addr; counter; }
  $6 set sent6 { type ifname . ether_addr . ipv6_addr; counter; }
  $6 set received6 { type ifname . ether_addr . ipv6_addr; counter; }
  set spoofed { type ifname; counter; }
  $RATE_SETS
  chain prerouting {
    type filter hook prerouting priority -300; policy accept;
    iifname "$PREFIX*" goto from_port
  }
  chain forward {
    type filter hook forward priority -300; policy accept;
    iifname "$PREFIX*" goto refuse
    oifname "$PREFIX*" drop
  }
  chain output {
    type filter hook output priority -300; policy accept;
    oifname "$PREFIX*" goto to_port
  }
  chain from_port {
    $RATES_FROM_PORT
    ether type ip meta pkttype host udp sport 67 goto refuse
    ether type ip meta pkttype host iifname . ether saddr . ip saddr @sent accept
    $6 ether type ip6 icmpv6 type { $LINK_TALK } goto refuse
    $6 ether type ip6 udp sport 547 goto refuse
    $6 ether type ip6 meta pkttype host iifname . ether saddr . ip6 saddr @sent6 accept
    ether type arp meta pkttype { host, broadcast } goto from_port_arp
    goto refuse
  }
  chain from_port_arp {
    arp htype != 1 goto refuse
    arp ptype != ip goto refuse
    arp hlen != 6 goto refuse
    arp plen != 4 goto refuse
    arp operation != { request, reply } goto refuse
    arp daddr ip != $GATEWAY goto refuse
    iifname . ether saddr . arp saddr ip != @identities goto refuse
    iifname . arp saddr ether . arp saddr ip @identities accept
    goto refuse
  }
  chain to_port {
    $RATES_TO_PORT
    ether type ip oifname . ether daddr . ip daddr @received accept
    $6 ether type ip6 icmpv6 type { $LINK_TALK } drop
    $6 ether type ip6 oifname . ether daddr . ip6 daddr @received6 accept
    ether type arp oifname . ether daddr . arp daddr ip @identities accept
    drop
  }
  chain refuse {
    iifname @spoofed drop
    drop
  }
}
)";

// What a bridge gets for 01:80:c2:00:00:0x (LLDP and its like) it hands to the port's own interface, past all
// hooks of the bridge family (net/bridge/br_input.c, br_handle_frame), whatever protocol is in it. So a
// packet that comes from a port and not from its bridge is dropped, here and below.
constexpr std::string_view kArpTable = R"(
table arp $TABLE {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "$PREFIX*" drop
  }
}
)";

// IPv4 and IPv6. Every packet of a guest is judged, not only a connection's first: when a guest or its right
// goes, so do its connections. "ct status dnat" is a connection to an address of the host's that the host
// gave away to something of its own. Only the server's user connects to guests: agents that come over TCP
// know their caller by nothing else.
//
// Connections outlive guests, and the next one may have the same address. So they have the mark of the guest
// that opened them, and no other guest has its mark: they count for it alone, and what comes back is for it
// alone. An ICMP error is "related", with the connection that it quotes: that may be anybody's, so it is not
// marked by it, and is let through from the connection's guest only; to the host never, which would believe
// it about its own.
constexpr std::string_view kInetTable = R"(
table inet $TABLE {
  set guests { type ipv4_addr; }
  set online { type ipv4_addr; }
  map marks { type ipv4_addr : mark; }
  set owners { type ipv4_addr . mark; }
  set refused { type ipv4_addr; counter; }
  set connections { type mark; size 65535; flags dynamic; }
  set agent_calls { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }
  map policies { type ipv4_addr : verdict; }
  $6 set guests6 { type ipv6_addr; }
  $6 set online6 { type ipv6_addr; }
  $6 map marks6 { type ipv6_addr : mark; }
  $6 set owners6 { type ipv6_addr . mark; }
  $6 set refused6 { type ipv6_addr; counter; }
  $6 map policies6 { type ipv6_addr : verdict; }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname "$PREFIX*" drop
    iifname "$BRIDGE" $FROM_GUESTS goto to_host
    $6 iifname "$BRIDGE" ip6 saddr @guests6 goto to_host
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname "$PREFIX*" drop
    iifname "$BRIDGE" $FROM_GUESTS goto from_guest
    $6 iifname "$BRIDGE" ip6 saddr @guests6 goto from_guest
    oifname "$BRIDGE" $TO_GUESTS goto to_guest
    $6 oifname "$BRIDGE" ip6 daddr @guests6 goto to_guest
  }
  chain output {
    type filter hook output priority filter - 10; policy accept;
    oifname "$BRIDGE" ip daddr @guests ct direction original meta skuid != $SERVER_UID drop
    $6 oifname "$BRIDGE" ip6 daddr @guests6 ct direction original meta skuid != $SERVER_UID drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @guests oifname != "$BRIDGE" masquerade
    $6 ip6 saddr @guests6 oifname != "$BRIDGE" masquerade
  }
  chain to_host {
    ct direction reply ct state established accept
    $AGENT_RULE
    ip daddr { $RESOLVERS } ip saddr @online meta l4proto { tcp, udp } th dport 53 goto permit
    $6 ip6 daddr { $V6_RESOLVERS } ip6 saddr @online6 meta l4proto { tcp, udp } th dport 53 goto permit
    goto refuse
  }
  chain from_guest {
    oifname "$BRIDGE" goto refuse
    ct state invalid goto refuse
    ct state related ip saddr . ct mark != @owners goto refuse
    $6 ct state related ip6 saddr . ct mark != @owners6 goto refuse
    ct status dnat goto refuse
    $6 icmpv6 type { $LINK_TALK } goto refuse
    ip daddr { $RESOLVERS } ip saddr @online meta l4proto { tcp, udp } th dport 53 goto permit
    $6 ip6 daddr { $V6_RESOLVERS } ip6 saddr @online6 meta l4proto { tcp, udp } th dport 53 goto permit
    $DENIED
    meta l4proto { tcp, udp } th dport { 53, 853 } goto refuse
    ip daddr $V4_SPECIAL goto refuse
    $6 ip6 daddr $V6_SPECIAL goto refuse
    ip saddr vmap @policies
    $6 ip6 saddr vmap @policies6
    goto refuse
  }
  chain to_guest {
    ct state established,related ip daddr . ct mark @owners accept
    $6 ct state established,related ip6 daddr . ct mark @owners6 accept
    drop
  }
  chain permit {
    ct direction original ct state new,established ct mark set ip saddr map @marks
    $6 ct direction original ct state new,established ct mark set ip6 saddr map @marks6
    ct state new add @connections { ct mark ct count over $MAX_CONNECTIONS } goto refuse
    accept
  }
  chain refuse {
    ip saddr @refused drop
    $6 ip6 saddr @refused6 drop
    drop
  }
}
)";

// ICMPv6 of multicast listeners, neighbours, routers, and what names and authenticates them.
constexpr const char* kLinkTalk = "130-143, 148, 149, 151-153";

using enum NetworkKind;

// Refused to all guests, whatever their policies say: what is the host's or nobody's, where clouds tell a
// machine its secrets, and what would carry IPv4 past the rules for it.
constexpr NetworkKinds kRefusedToAll = {this_network, loopback,     link_local,    multicast,
                                        reserved,     ipv4_carrier, cloud_metadata};

constexpr const char* kFamilies[] = {"bridge ", "arp ", "inet "};

using Values = std::initializer_list<std::pair<std::string_view, std::string>>;

/// The pattern with its lines about IPv6, or without them.
std::string with_ipv6(std::string_view pattern, bool ipv6) {
  constexpr std::string_view kMark = "$6 ";
  std::string text(pattern);
  for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos;) {
    text.erase(at, ipv6 ? kMark.size() : text.find('\n', at) - at);
  }
  return text;
}

std::string fill_in(std::string text, Values values) {
  for (const auto& [name, value] : values) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size()) {
      text.replace(at, name.size(), value);
    }
  }
  CHECK(!text.contains('$'));
  return text;
}

std::string resolver_list(const std::vector<IpAddress>& resolvers, bool ipv6) {
  std::string list;
  for (const IpAddress& resolver : resolvers) {
    if (resolver.is_ipv6() == ipv6) list += (list.empty() ? "" : ", ") + resolver.text();
  }
  // The unspecified address, which no packet is sent to, where there is none: a set needs an element.
  if (list.empty()) return ipv6 ? "::" : "0.0.0.0";
  return list;
}

std::string agent_rule(const FirewallSettings& settings) {
  if (!settings.agent_port) return "";
  const std::string call = "ip daddr " + settings.gateway.text() + " tcp dport " +
                           std::to_string(*settings.agent_port) + " ip saddr @guests ";
  // An agent calls once or twice; what programs try is not to keep the server busy.
  return call +
         "ct state new update @agent_calls { ip saddr limit rate over 5/second burst 20 packets } goto "
         "refuse\n" +
         call + "goto permit";
}

std::string denying_rules(const FirewallSettings& settings) {
  std::string rules;
  // One each: a set refuses networks that overlap.
  for (const IpSubnet& denied : settings.denied) {
    if (settings.ipv6 || !denied.is_ipv6()) rules += daddr_rule(denied) + " goto refuse\n";
  }
  return rules;
}

/// A limit of the kernel's for each port and direction. What is over it is dropped: TCP slows down by that.
/// An element forgets a port that has been silent for a while.
struct Rate {
  std::string name;    ///< of its sets
  uint64_t per_s;      ///< 0: no limit
  std::string unit;    ///< with its leading space
  uint64_t min_burst;  ///< in that unit: a segment that is not cut up yet is one packet of 64 KiB
};

std::vector<Rate> rates_of(const GuestLimits& limits) {
  constexpr uint64_t kBytesPerMbit = 1'000'000 / 8;
  return {{"bytes", limits.mbit_per_s * kBytesPerMbit, " bytes", 256 << 10},
          {"packets", limits.packets_per_s, "", 64}};
}

std::string rate_sets(const GuestLimits& limits) {
  std::string sets;
  for (const Rate& rate : rates_of(limits)) {
    if (rate.per_s == 0) continue;
    for (const char* direction : {"sent_", "received_"}) {
      sets += "set " + std::string(direction) + rate.name +
              " { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }\n";
    }
  }
  return sets;
}

std::string rate_rules(const GuestLimits& limits, const std::string& direction, const std::string& key) {
  std::string rules;
  for (const Rate& rate : rates_of(limits)) {
    if (rate.per_s == 0) continue;
    const uint64_t burst = std::max(rate.per_s / 4, rate.min_burst);
    rules += "update @" + direction + rate.name + " { " + key + " limit rate over " +
             std::to_string(rate.per_s) + rate.unit + "/second burst " + std::to_string(burst) +
             (rate.unit.empty() ? " packets" : rate.unit) + " } drop\n";
  }
  return rules;
}

}  // namespace

std::string table_name(const std::string& bridge) {
  return "lambdo_" + bridge;
}

std::string removal(const std::string& bridge) {
  std::string commands;
  for (const char* family : kFamilies) {
    const std::string table = family + table_name(bridge) + "\n";
    // Deleting what is not there is an error; adding what is there is none.
    commands += "add table " + table;
    commands += "delete table " + table;
  }
  return commands;
}

std::string base_ruleset(const FirewallSettings& settings) {
  const std::string table = table_name(settings.bridge);
  return removal(settings.bridge) +
         fill_in(with_ipv6(kBridgeTable, settings.ipv6),
                 {{"$TABLE", table},
                  {"$PREFIX", settings.port_prefix},
                  {"$GATEWAY", settings.gateway.text()},
                  {"$LINK_TALK", kLinkTalk},
                  {"$RATE_SETS", rate_sets(settings.limits)},
                  {"$RATES_FROM_PORT", rate_rules(settings.limits, "sent_", "iifname")},
                  {"$RATES_TO_PORT", rate_rules(settings.limits, "received_", "oifname")}}) +
         fill_in(std::string(kArpTable), {{"$TABLE", table}, {"$PREFIX", settings.port_prefix}}) +
         fill_in(with_ipv6(kInetTable, settings.ipv6),
                 {{"$TABLE", table},
                  {"$PREFIX", settings.port_prefix},
                  {"$BRIDGE", settings.bridge},
                  {"$FROM_GUESTS", settings.guests_only ? "" : "ip saddr @guests"},
                  {"$TO_GUESTS", settings.guests_only ? "" : "ip daddr @guests"},
                  {"$AGENT_RULE", agent_rule(settings)},
                  {"$SERVER_UID", std::to_string(::geteuid())},
                  {"$RESOLVERS", resolver_list(settings.resolvers, false)},
                  {"$V6_RESOLVERS", resolver_list(settings.resolvers, true)},
                  {"$V4_SPECIAL", address_set(networks_of(kRefusedToAll, false))},
                  {"$V6_SPECIAL", address_set(networks_of(kRefusedToAll, true))},
                  {"$LINK_TALK", kLinkTalk},
                  {"$DENIED", denying_rules(settings)},
                  {"$MAX_CONNECTIONS", std::to_string(settings.limits.max_connections)}});
}

}  // namespace lambdo::net
