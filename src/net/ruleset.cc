#include "net/ruleset.h"

#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace lambdo::net {

namespace {

// Ethernet. A guest's frame is its own (port, Ethernet and IPv4 address), is IPv4 or ARP, and is for the
// host; a frame to a guest is for it alone. "ether type" and not "ip saddr" alone: the first sees a VLAN tag.
//
// Bridges hand frames to 01:80:c2:00:00:0x (LLDP and others) to the port's own interface, past prerouting,
// hence the rule in input. Neither connection tracking nor the bridge's name are known in this family where
// the kernel is built without them, so what needs either stands in the other table.
constexpr std::string_view kBridgeTable = R"(
table bridge $TABLE {
  set identities { type ifname . ether_addr . ipv4_addr; }
  set sent { type ifname . ether_addr . ipv4_addr; counter; }
  set received { type ifname . ether_addr . ipv4_addr; counter; }
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
constexpr std::string_view kInetTable = R"(
table inet $TABLE {
  set guests { type ipv4_addr; }
  set online { type ipv4_addr; }
  set refused { type ipv4_addr; counter; }
  set connections { type ipv4_addr; size 65535; flags dynamic; }
  map policies { type ipv4_addr : verdict; }
  chain input {
    type filter hook input priority filter - 10; policy accept;
    iifname "$PREFIX*" drop
    iifname "$BRIDGE" $FROM_GUESTS goto to_host
  }
  chain forward {
    type filter hook forward priority filter - 10; policy accept;
    iifname "$PREFIX*" drop
    iifname "$BRIDGE" $FROM_GUESTS goto from_guest
    oifname "$BRIDGE" $TO_GUESTS goto to_guest
  }
  chain output {
    type filter hook output priority filter - 10; policy accept;
    oifname "$BRIDGE" ip daddr @guests ct direction original meta skuid != $SERVER_UID drop
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr @guests oifname != "$BRIDGE" masquerade
  }
  chain to_host {
    ct direction reply ct state established,related accept
    $AGENT_RULE
    ip daddr { $RESOLVERS } ip saddr @online meta l4proto { tcp, udp } th dport 53 goto permit
    goto refuse
  }
  chain from_guest {
    oifname "$BRIDGE" goto refuse
    ct state invalid goto refuse
    ct status dnat goto refuse
    ip daddr { $RESOLVERS } ip saddr @online meta l4proto { tcp, udp } th dport 53 goto permit
    $DENIED
    meta l4proto { tcp, udp } th dport { 53, 853 } goto refuse
    ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } goto refuse
    ip saddr vmap @policies
    goto refuse
  }
  chain to_guest {
    ct state established,related accept
    drop
  }
  chain permit {
    ct state new add @connections { ip saddr ct count over $MAX_CONNECTIONS } goto refuse
    accept
  }
  chain refuse {
    ip saddr @refused drop
    drop
  }
}
)";

constexpr const char* kFamilies[] = {"bridge ", "arp ", "inet "};

using Values = std::initializer_list<std::pair<std::string_view, std::string>>;

std::string fill_in(std::string_view pattern, Values values) {
  std::string text(pattern);
  for (const auto& [name, value] : values) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size()) {
      text.replace(at, name.size(), value);
    }
  }
  CHECK(!text.contains('$'));
  return text;
}

std::string resolver_list(const std::vector<Ipv4Address>& resolvers) {
  // The unspecified address, which no packet is sent to, where there is none: a set needs an element.
  if (resolvers.empty()) return "0.0.0.0";
  std::string list;
  for (const Ipv4Address& resolver : resolvers) list += (list.empty() ? "" : ", ") + resolver.text();
  return list;
}

std::string agent_rule(const FirewallSettings& settings) {
  if (!settings.agent_port) return "";
  return "ip daddr " + settings.gateway.text() + " tcp dport " + std::to_string(*settings.agent_port) +
         " ip saddr @guests goto permit";
}

std::string denying_rules(const FirewallSettings& settings) {
  std::string rules;
  // One each: a set refuses networks that overlap.
  for (const Ipv4Subnet& denied : settings.denied) {
    rules += "ip daddr " + Ipv4Subnet{denied.network(), denied.prefix_len}.text() + " goto refuse\n";
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
         fill_in(kBridgeTable, {{"$TABLE", table},
                                {"$PREFIX", settings.port_prefix},
                                {"$GATEWAY", settings.gateway.text()},
                                {"$RATE_SETS", rate_sets(settings.limits)},
                                {"$RATES_FROM_PORT", rate_rules(settings.limits, "sent_", "iifname")},
                                {"$RATES_TO_PORT", rate_rules(settings.limits, "received_", "oifname")}}) +
         fill_in(kArpTable, {{"$TABLE", table}, {"$PREFIX", settings.port_prefix}}) +
         fill_in(kInetTable, {{"$TABLE", table},
                              {"$PREFIX", settings.port_prefix},
                              {"$BRIDGE", settings.bridge},
                              {"$FROM_GUESTS", settings.guests_only ? "" : "ip saddr @guests"},
                              {"$TO_GUESTS", settings.guests_only ? "" : "ip daddr @guests"},
                              {"$AGENT_RULE", agent_rule(settings)},
                              {"$SERVER_UID", std::to_string(::geteuid())},
                              {"$RESOLVERS", resolver_list(settings.resolvers)},
                              {"$DENIED", denying_rules(settings)},
                              {"$MAX_CONNECTIONS", std::to_string(settings.limits.max_connections)}});
}

}  // namespace lambdo::net
