#include "net/policy.h"

namespace lambdo::net {

namespace {

std::string prefix_text(const Ipv4Subnet& subnet) {
  return Ipv4Subnet{subnet.network(), subnet.prefix_len}.text();
}

std::string allowing_rule(const Policy::Destination& destination) {
  std::string rule = "ip daddr " + prefix_text(destination.to);
  if (destination.protocol != Policy::Protocol::any) {
    rule += destination.protocol == Policy::Protocol::tcp ? " tcp" : " udp";
    rule += " dport " + std::to_string(destination.first_port) + "-" + std::to_string(destination.last_port);
  }
  return rule + " goto permit\n";
}

}  // namespace

Result<> check_policy(const Policy& policy) {
  if (policy.allowed.size() > Policy::kMaxDestinations || policy.denied.size() > Policy::kMaxDestinations) {
    return fail(Code::invalid_argument, "a policy has at most " + std::to_string(Policy::kMaxDestinations) +
                                            " allowed and as many denied destinations");
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
                  "ports of " + prefix_text(destination.to) + " need a protocol, tcp or udp");
    }
  }
  return {};
}

std::string policy_rules(const Policy& policy) {
  if (policy.access == Policy::Access::none) return "goto refuse\n";
  std::string rules;
  for (const Ipv4Subnet& denied : policy.denied)
    rules += "ip daddr " + prefix_text(denied) + " goto refuse\n";
  if (policy.access == Policy::Access::full) return rules + "goto permit\n";
  for (const Policy::Destination& allowed : policy.allowed) rules += allowing_rule(allowed);
  return rules + "goto refuse\n";
}

}  // namespace lambdo::net
