#include "config/network.h"

#include <tuple>
#include <utility>

#include "base/special_networks.h"
#include "config/values.h"
#include "net/bridge_address.h"
#include "net/policy_text.h"

namespace lambdo::config {

static constexpr size_t kMaxDenied = 256;
static constexpr size_t kMaxResolvers = 3;  // MAXNS of resolv.h
static constexpr uint64_t kMaxConnections = 65535;
// Of nftables' limits, which count bytes in a second.
static constexpr uint64_t kMaxMbit = 100'000;
static constexpr uint64_t kMaxPackets = 1'000'000'000;

/// What `parse` makes of the value's text, nothing with an error where it makes nothing of it.
template <typename T>
static std::optional<T> parsed(const std::optional<YamlValue>& value, Result<T> (*parse)(std::string_view)) {
  const auto text = value ? value->text() : std::nullopt;
  if (!text) return std::nullopt;
  auto result = parse(*text);
  if (!result) {
    value->error(result.error().message);
    return std::nullopt;
  }
  return std::move(*result);
}

static std::vector<IpSubnet> read_networks(const YamlValue& value, size_t max_count) {
  std::vector<IpSubnet> networks;
  for (const YamlValue& entry : value.list(max_count, "network")) {
    if (const auto network = parsed<IpSubnet>(entry, net::parse_network)) networks.push_back(*network);
  }
  return networks;
}

static net::Policy::Destination read_destination(const YamlValue& value) {
  net::Policy::Destination destination;
  if (!value.is_map()) {
    if (const auto network = parsed<IpSubnet>(value, net::parse_network)) destination.to = *network;
    return destination;
  }
  YamlMap map = value.map();
  const auto to = map.require("to", "write the network that may be reached, 0.0.0.0/0 for all of IPv4");
  if (const auto network = parsed<IpSubnet>(to, net::parse_network)) destination.to = *network;
  const auto protocol = map.find("protocol");
  if (const auto known = parsed<net::Policy::Protocol>(protocol, net::parse_protocol)) {
    destination.protocol = *known;
  }
  const auto ports = map.find("ports");
  if (const auto range = parsed<std::pair<uint16_t, uint16_t>>(ports, net::parse_ports)) {
    std::tie(destination.first_port, destination.last_port) = *range;
    if (destination.protocol == net::Policy::Protocol::any) {
      ports->error("ports are of a protocol; write protocol: tcp or protocol: udp beside them");
    }
  }
  map.warn_of_unknown_keys();
  return destination;
}

void read_policy(const YamlValue& value, net::Policy& policy) {
  net::PolicyChoice choice;
  if (!value.is_map()) {
    const auto access = parsed<net::Policy::Access>(value, net::parse_access);
    if (access) choice.access = *access;
    policy = net::policy_of(choice);
    return;
  }
  YamlMap map = value.map();
  const auto access = map.require("access", "write none, egress or full");
  choice.access = parsed<net::Policy::Access>(access, net::parse_access).value_or(choice.access);
  if (const auto allowed = map.find("allowed")) {
    choice.allowed.emplace();
    for (const YamlValue& entry : allowed->list(net::Policy::kMaxDestinations, "destination")) {
      choice.allowed->push_back(read_destination(entry));
    }
  }
  if (const auto denied = map.find("denied")) {
    choice.denied = read_networks(*denied, net::Policy::kMaxDestinations);
  }
  map.warn_of_unknown_keys();
  // What is wrong with a part of it has been said already.
  const bool whole = !value.context().has_errors();
  if (const auto checked = net::check_choice(choice); !checked && whole) {
    return value.error(checked.error().message);
  }
  policy = net::policy_of(choice);
}

bool is_askable(const IpAddress& resolver, bool ipv6) {
  // Resolvers of libraries take 0.0.0.0 as one of the host's own.
  if (!resolver.is_ipv6()) return is_host_address(resolver);
  return ipv6 && std::get<Ipv6Address>(resolver.value).is_global_or_unique_local();
}

static Result<Ipv6Subnet> parse_bridge_ipv6(std::string_view text) {
  const Ipv6Subnet address = TRY(Ipv6Subnet::parse(text));
  TRY(net::check_bridge_ipv6(address));
  return address;
}

static void read_resolvers(const YamlValue& value, Config::Network& network) {
  network.resolvers.emplace();
  for (const YamlValue& entry : value.list(kMaxResolvers, "resolver")) {
    const auto text = entry.text();
    if (!text) continue;
    const auto address = IpAddress::parse(*text);
    if (!address || !is_askable(*address, network.ipv6.has_value())) {
      const std::string family = network.ipv6 ? "" : "IPv4 ";
      entry.error(quoted(*text) + " is not the " + family +
                  "address of a resolver that guests can reach; write one such as 192.0.2.53");
      continue;
    }
    network.resolvers->push_back(*address);
  }
}

void read_network(YamlMap map, Config::Network& network) {
  const auto requests = map.find("requests");
  network.requests = parsed<net::Policy::Access>(requests, net::parse_access).value_or(network.requests);
  network.ipv6 = parsed<Ipv6Subnet>(map.find("ipv6"), parse_bridge_ipv6);
  if (const auto denied = map.find("denied")) network.denied = read_networks(*denied, kMaxDenied);
  if (const auto resolvers = map.find("resolvers")) read_resolvers(*resolvers, network);
  map.read_number("max_connections", network.limits.max_connections, 1, kMaxConnections);
  map.read_number("mbit_per_s", network.limits.mbit_per_s, 0, kMaxMbit);
  map.read_number("packets_per_s", network.limits.packets_per_s, 0, kMaxPackets);
  map.read_number("quarantine_ms", network.quarantine_ms, 0, kMaxTimeMs);
  map.warn_of_unknown_keys();
}

}  // namespace lambdo::config
