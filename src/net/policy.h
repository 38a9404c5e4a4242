// Policy says where one guest may connect to, and as which nft rules; ruleset.h has the rules for all guests.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"

namespace lambdo::net {

/// Where a guest may connect to, beyond the agents' port of its host.
struct Policy {
  enum class Access {
    none,    ///< nowhere
    egress,  ///< what `allowed` says and `denied` does not
    full,    ///< everywhere that is not the host's, another guest's or special, but for what `denied` says
  };
  enum class Protocol { any, tcp, udp };

  struct Destination {
    IpSubnet to;
    Protocol protocol = Protocol::any;  ///< any: all ports, and ICMP and the rest
    uint16_t first_port = 0;            ///< of tcp and udp
    uint16_t last_port = 65535;

    bool operator==(const Destination&) const = default;
  };

  /// Allowed and denied, each. The latter may be of two who have a say.
  static constexpr size_t kMaxDestinations = 64;
  static constexpr size_t kMaxDenied = 2 * kMaxDestinations;

  Access access = Access::none;
  bool public_only = false;  ///< egress: no address that is somebody's own
                             ///< (base/special_networks.h), whatever is allowed
  std::vector<Destination> allowed;
  std::vector<IpSubnet> denied;

  bool operator==(const Policy&) const = default;
};

/// Code::invalid_argument names what is wrong: too many, ports in the wrong order, ports without a protocol.
Result<> check_policy(const Policy& policy);

/// "ip daddr 10.0.0.0/8", "ip6 daddr fc00::/7": the start of a rule about packets to a network.
std::string daddr_rule(const IpSubnet& to);

/// "{ 10.0.0.0/8, 192.0.2.0/24 }": networks of one family, which must not overlap, as a set in a rule. Not
/// empty, which no set in a rule can be.
std::string address_set(std::span<const IpSubnet> networks);

/// A checked policy as nft rules, one a line, ending in a verdict: to chains `permit` and `refuse`. Equal for
/// policies that mean the same in the same order. Without `ipv6` it says nothing of IPv6, which guests do not
/// have then.
std::string policy_rules(const Policy& policy, bool ipv6 = false);

}  // namespace lambdo::net
