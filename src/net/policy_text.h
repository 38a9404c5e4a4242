// Reads policies as people write them in configurations and requests.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "net/policy.h"

/// Policies as people write them, in configurations and requests. Errors are Code::invalid_argument, and
/// their messages say what is wrong and what to write, without the name of the field.
namespace lambdo::net {

/// What somebody wants of the network.
struct PolicyChoice {
  Policy::Access access = Policy::Access::none;
  std::optional<std::vector<Policy::Destination>> allowed;  ///< none: everything that is public
  std::vector<IpSubnet> denied;

  bool operator==(const PolicyChoice&) const = default;
};

/// none, egress or full.
Result<Policy::Access> parse_access(std::string_view text);
std::string_view access_name(Policy::Access access);
/// 198.51.100.0/24, 2001:db8::/32, or one address.
Result<IpSubnet> parse_network(std::string_view text);
/// tcp, udp or any.
Result<Policy::Protocol> parse_protocol(std::string_view text);
/// "443" or "80-443".
Result<std::pair<uint16_t, uint16_t>> parse_ports(std::string_view text);

/// A choice that makes sense: `allowed` only with egress, `denied` only with access, ports in order.
Result<> check_choice(const PolicyChoice& choice);
/// What a checked choice means.
Policy policy_of(const PolicyChoice& choice);

}  // namespace lambdo::net
