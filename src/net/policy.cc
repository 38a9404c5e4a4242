#include "net/policy.h"

#include "base/special_networks.h"

namespace lambdo::net {

namespace {

using enum NetworkKind;

// The rest of the special networks is refused to every guest (net/ruleset.cc).
constexpr NetworkKinds kNotPublic = {private_use,   shared,       protocol_assignment,
                                     documentation, benchmarking, relay_anycast};

/// Refuses what is somebody's own. Of IPv6 nothing but 2000::/3 is public, and not all of that.
std::string public_only_rules(bool ipv6) {
  std::string rules = "ip daddr " + address_set(networks_of(kNotPublic, false)) + " goto refuse\n";
  if (!ipv6) return rules;
  std::vector<IpSubnet> within = networks_of(kNotPublic, true);
  std::erase_if(within, [](const IpSubnet& network) {
    return !std::get<Ipv6Address>(network.address.value).is_global_unicast();
  });
  return rules + "ip6 daddr != 2000::/3 goto refuse\nip6 daddr " + address_set(within) + " goto refuse\n";
}

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

std::string address_set(std::span<const IpSubnet> networks) {
  std::string list;
  for (const IpSubnet& network : networks) list += (list.empty() ? "" : ", ") + network.prefix_text();
  return "{ " + list + " }";
}

std::string policy_rules(const Policy& policy, bool ipv6) {
  if (policy.access == Policy::Access::none) return "goto refuse\n";
  std::string rules;
  for (const IpSubnet& denied : policy.denied) {
    if (ipv6 || !denied.is_ipv6()) rules += daddr_rule(denied) + " goto refuse\n";
  }
  if (policy.access == Policy::Access::full) return rules + "goto permit\n";
  if (policy.public_only) rules += public_only_rules(ipv6);
  for (const Policy::Destination& allowed : policy.allowed) {
    if (ipv6 || !allowed.to.is_ipv6()) rules += allowing_rule(allowed);
  }
  return rules + "goto refuse\n";
}

}  // namespace lambdo::net
