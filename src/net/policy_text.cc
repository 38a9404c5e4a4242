#include "net/policy_text.h"

#include <array>

#include "base/text.h"

namespace lambdo::net {

namespace {

// In the order of Policy::Access.
constexpr std::array<std::string_view, 3> kAccessNames = {"none", "egress", "full"};
constexpr std::array<std::string_view, 3> kProtocolNames = {"any", "tcp", "udp"};

std::unexpected<Error> wrong(std::string_view text, std::string_view problem) {
  return fail(Code::invalid_argument, '"' + std::string(text) + "\" " + std::string(problem));
}

}  // namespace

Result<Policy::Access> parse_access(std::string_view text) {
  for (size_t i = 0; i < kAccessNames.size(); ++i) {
    if (kAccessNames[i] == text) return static_cast<Policy::Access>(i);
  }
  return wrong(text, "is not an access to the network; write none, egress or full");
}

std::string_view access_name(Policy::Access access) {
  return kAccessNames[static_cast<size_t>(access)];
}

Result<IpSubnet> parse_network(std::string_view text) {
  auto network = IpSubnet::parse(text);
  if (network) return network;
  return wrong(text, "is not a network; write one such as 198.51.100.0/24 or 2001:db8::/32, or one address");
}

Result<Policy::Protocol> parse_protocol(std::string_view text) {
  for (size_t i = 0; i < kProtocolNames.size(); ++i) {
    if (kProtocolNames[i] == text) return static_cast<Policy::Protocol>(i);
  }
  return wrong(text, "is not a protocol; write tcp, udp or any");
}

Result<std::pair<uint16_t, uint16_t>> parse_ports(std::string_view text) {
  constexpr uint64_t kMaxPort = 65535;
  const size_t dash = text.find('-');
  const auto first = parse_uint(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_uint(text.substr(dash + 1));
  if (!first || !last || *first > kMaxPort || *last > kMaxPort || *first > *last) {
    return wrong(text, "are not ports; write one such as 443, or a first and a last one such as 80-443");
  }
  return std::pair(static_cast<uint16_t>(*first), static_cast<uint16_t>(*last));
}

Result<> check_choice(const PolicyChoice& choice) {
  if (choice.allowed && choice.access != Policy::Access::egress) {
    return fail(Code::invalid_argument, "allowed is for egress only; remove it, or write access: egress");
  }
  if (!choice.denied.empty() && choice.access == Policy::Access::none) {
    return fail(Code::invalid_argument,
                "denied is for egress and full only; remove it, or write access: egress");
  }
  if (choice.denied.size() > Policy::kMaxDestinations) {
    return fail(Code::invalid_argument,
                "more than " + std::to_string(Policy::kMaxDestinations) + " denied networks");
  }
  return check_policy(policy_of(choice));
}

Policy policy_of(const PolicyChoice& choice) {
  Policy policy{.access = choice.access,
                .allowed = choice.allowed.value_or(std::vector<Policy::Destination>()),
                .denied = choice.denied};
  if (choice.access == Policy::Access::egress && !choice.allowed) {
    policy.public_only = true;
    policy.allowed.push_back({.to = Ipv4Subnet{{}, 0}});
    policy.allowed.push_back({.to = Ipv6Subnet{{}, 0}});
  }
  return policy;
}

}  // namespace lambdo::net
