// The text of the nftables tables for all guests of a bridge, before there are any; firewall.h puts the
// guests in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"

namespace lambdo::net {

/// What one guest may use of the network at a time.
struct GuestLimits {
  uint32_t max_connections = 256;
  uint64_t mbit_per_s = 0;  ///< in each direction; 0: no limit
  /// In each direction; 0: no limit. There is one by default, for a guest gets a flood by asking for it.
  uint64_t packets_per_s = 50'000;

  bool operator==(const GuestLimits&) const = default;
};

struct FirewallSettings {
  std::string bridge;       ///< its name
  std::string port_prefix;  ///< every interface whose name starts so is a guest's port, and no other one is
  Ipv4Address gateway;      ///< the bridge's address
  bool ipv6 = false;        ///< guests have IPv6 too
  /// Nobody but guests is on this bridge: what comes from it is dropped where no guest is known to have sent
  /// it. On a bridge of the operator's own only known guests' packets are looked at.
  bool guests_only = true;
  std::optional<uint16_t> agent_port;  ///< the TCP port at the gateway that guests reach
  std::vector<IpAddress> resolvers;    ///< the only ones to answer guests' DNS; may be the gateway
  std::vector<IpSubnet> denied;        ///< to all guests, whatever their policies say
  GuestLimits limits;
};

/// The name of the tables, in families bridge, arp and inet, of the rules for a bridge.
std::string table_name(const std::string& bridge);

/// The tables with all rules and empty sets, replacing any there are of the same name.
std::string base_ruleset(const FirewallSettings& settings);
/// Code for removing the tables, whether or not there are any.
std::string removal(const std::string& bridge);

}  // namespace lambdo::net
