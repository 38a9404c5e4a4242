#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "net/addresses.h"

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
    Ipv4Subnet to;
    Protocol protocol = Protocol::any;  ///< any: all ports, and ICMP and the rest
    uint16_t first_port = 0;            ///< of tcp and udp
    uint16_t last_port = 65535;
  };

  static constexpr size_t kMaxDestinations = 64;  ///< allowed and denied, each

  Access access = Access::none;
  std::vector<Destination> allowed;
  std::vector<Ipv4Subnet> denied;
};

/// Code::invalid_argument names what is wrong: too many, ports in the wrong order, ports without a protocol.
Result<> check_policy(const Policy& policy);

/// A checked policy as nft rules, one a line, ending in a verdict: to chains `permit` and `refuse`. Equal for
/// policies that mean the same in the same order.
std::string policy_rules(const Policy& policy);

}  // namespace lambdo::net
