#include "net/policy.h"

#include <string_view>

namespace lambdo::net {

namespace {

// The registry of RFC 6890, but for what every guest is refused (net/ruleset.cc): shared address space,
// private use, protocol assignments, documentation, 6to4 relays, benchmarking.
constexpr std::string_view kNotPublic =
    "10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.0.0.0/24, 192.0.2.0/24, 192.88.99.0/24, 192.168.0.0/16, "
    "198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24";

// The same of IPv6, where nothing else than 2000::/3 is public: protocol assignments, documentation.
constexpr std::string_view kNotPublicIpv6 = "2001::/23, 2001:db8::/32, 3fff::/20";

std::string allowing_rule(const Policy::Destination& destination) {
  std::string rule = daddr_rule(destination.to);
  if (destination.protocol != Policy::Protocol::any) {
    rule += destination.protocol == Policy::Protocol::tcp ? " tcp" : " udp";
    rule += " dport " + std::to_string(destination.first_port) + "-" + std::to_string(destination.last_port);
  }
  return rule + " goto permit\n";
}

}  // namespace

Result<> check_policy(const Policy& policy) {
  if (policy.allowed.size() > Policy::kMaxDestinations || policy.denied.size() > Policy::kMaxDenied) {
    return fail(Code::invalid_argument, "a policy has at most " + std::to_string(Policy::kMaxDestinations) +
                                            " allowed and twice as many denied destinations");
  }
  for (const Policy::Destination& destination : policy.allowed) {
    if (destination.first_port > destination.last_port) {
      return fail(Code::invalid_argument, "ports " + std::to_string(destination.first_port) + " to " +
                                              std::to_string(destination.last_port) +
                                              " are in the wrong order");
    }
    const bool all_ports = destination.first_port == 0 && destination.last_port == 65535;
    if (destination.protocol == Policy::Protocol::any && !all_ports) {
      return fail(Code::invalid_argument,
                  "ports of " + destination.to.prefix_text() + " need a protocol, tcp or udp");
    }
  }
  return {};
}

std::string daddr_rule(const IpSubnet& to) {
  return (to.is_ipv6() ? "ip6 daddr " : "ip daddr ") + to.prefix_text();
}

std::string policy_rules(const Policy& policy, bool ipv6) {
  if (policy.access == Policy::Access::none) return "goto refuse\n";
  std::string rules;
  for (const IpSubnet& denied : policy.denied) {
    if (ipv6 || !denied.is_ipv6()) rules += daddr_rule(denied) + " goto refuse\n";
  }
  if (policy.access == Policy::Access::full) return rules + "goto permit\n";
  if (policy.public_only) rules += "ip daddr { " + std::string(kNotPublic) + " } goto refuse\n";
  if (policy.public_only && ipv6) {
    rules +=
        "ip6 daddr != 2000::/3 goto refuse\nip6 daddr { " + std::string(kNotPublicIpv6) + " } goto refuse\n";
  }
  for (const Policy::Destination& allowed : policy.allowed) {
    if (ipv6 || !allowed.to.is_ipv6()) rules += allowing_rule(allowed);
  }
  return rules + "goto refuse\n";
}

}  // namespace lambdo::net
