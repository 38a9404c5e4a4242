#include "agent/network_plan.h"

#include <sys/socket.h>

#include <algorithm>

#include "base/special_networks.h"
#include "lambdo.pb.h"

namespace lambdo::agent {

namespace {

namespace proto = grpc_definitions;

constexpr int kMaxServers = 3;  // MAXNS of <resolv.h>: what comes after is not asked
constexpr int kMaxSearch = 32;
constexpr size_t kMaxDomainBytes = 253;
constexpr size_t kMaxLabelBytes = 63;
constexpr size_t kMaxHostnameBytes = 64;  // HOST_NAME_MAX
constexpr uint32_t kMinMtu = 576;
constexpr uint32_t kMinMtuV6 = 1280;  // RFC 8200, 5
constexpr uint32_t kMaxMtu = 65535;

std::unexpected<Error> refuse(std::string_view field, std::string_view value, std::string_view wanted) {
  return fail(Code::invalid_argument,
              std::string(field) + ": must be " + std::string(wanted) + ", not '" + std::string(value) + "'");
}

bool is_label(std::string_view label, bool underscores) {
  if (label.empty() || label.size() > kMaxLabelBytes || label.front() == '-' || label.back() == '-') {
    return false;
  }
  return std::ranges::all_of(label, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           (underscores && c == '_');
  });
}

bool is_domain(std::string_view name, bool underscores, size_t max_bytes) {
  if (name.empty() || name.size() > max_bytes) return false;
  while (true) {
    const size_t dot = name.find('.');
    if (!is_label(name.substr(0, dot), underscores)) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

Result<MacAddress> mac_field(std::string_view field, const std::string& text) {
  const auto mac = MacAddress::parse(text);
  if (!mac || !mac->is_unicast() || *mac == MacAddress())
    return refuse(field, text, "a unicast MAC address like 02:00:00:00:00:01");
  return *mac;
}

Result<> add_addresses(InterfacePlan& plan, const proto::NetworkInterface& wanted) {
  const struct {
    int family;
    const char* field;
    const std::string& address;
    const std::string& gateway;
  } families[] = {{AF_INET, "interface.ipv4", wanted.ipv4(), wanted.ipv4_gateway()},
                  {AF_INET6, "interface.ipv6", wanted.ipv6(), wanted.ipv6_gateway()}};
  for (const auto& [family, field, address, gateway] : families) {
    if (!address.empty()) {
      plan.addresses.push_back(TRY(parse_interface_address(family, field, address, gateway)));
    } else if (!gateway.empty()) {
      return fail(Code::invalid_argument,
                  std::string(field) + "_gateway: there is no address to use it from");
    }
  }
  if (wanted.ipv6_gateway_mac().empty()) return {};
  if (wanted.ipv6_gateway().empty()) {
    return fail(Code::invalid_argument, "interface.ipv6_gateway_mac: there is no gateway that has it");
  }
  // IPv6's is the last.
  plan.addresses.back().gateway_mac = TRY(mac_field("interface.ipv6_gateway_mac", wanted.ipv6_gateway_mac()));
  return {};
}

Result<> add_names(InterfacePlan& plan, const proto::NetworkInterface& wanted) {
  if (wanted.dns_servers_size() > kMaxServers) {
    return fail(Code::invalid_argument, "interface.dns_servers: more than 3, which is what resolvers ask");
  }
  if (wanted.dns_search_size() > kMaxSearch) {
    return fail(Code::invalid_argument, "interface.dns_search: more than 32");
  }
  for (const std::string& server : wanted.dns_servers()) {
    const auto ip = IpAddress::parse(server);
    if (!ip) return refuse("interface.dns_servers", server, "an IPv4 or IPv6 address");
    plan.dns_servers.push_back(*ip);
  }
  for (const std::string& domain : wanted.dns_search()) {
    if (!is_domain(domain, true, kMaxDomainBytes)) {
      return refuse("interface.dns_search", domain, "a domain's name");
    }
    plan.dns_search.push_back(domain);
  }
  return {};
}

Result<InterfacePlan> make_interface_plan(const proto::NetworkInterface& wanted) {
  InterfacePlan plan;
  plan.mac = TRY(mac_field("interface.mac", wanted.mac()));
  if (!wanted.new_mac().empty()) plan.new_mac = TRY(mac_field("interface.new_mac", wanted.new_mac()));
  TRY(add_addresses(plan, wanted));
  const uint32_t min_mtu = wanted.ipv6().empty() ? kMinMtu : kMinMtuV6;
  if (wanted.mtu() != 0 && (wanted.mtu() < min_mtu || wanted.mtu() > kMaxMtu)) {
    return refuse("interface.mtu", std::to_string(wanted.mtu()),
                  "0 or " + std::to_string(min_mtu) + " to 65535");
  }
  plan.mtu = wanted.mtu();
  TRY(add_names(plan, wanted));
  return plan;
}

}  // namespace

Result<InterfaceAddress> parse_interface_address(int family, const std::string& field,
                                                 const std::string& text, const std::string& gateway) {
  const char* example = family == AF_INET ? "an address with its prefix, like 192.168.10.2/24"
                                          : "an address with its prefix, like fd00::2/64";
  const auto subnet = IpSubnet::parse(text);
  if (!subnet || !text.contains('/') || subnet->address.family() != family || subnet->prefix_len < 1) {
    return refuse(field, text, example);
  }
  if (!is_host_address(subnet->address)) return refuse(field, text, "an address that one host can have");
  if (gateway.empty()) return InterfaceAddress{.subnet = *subnet};
  const auto router = IpAddress::parse(gateway);
  if (!router || router->family() != family || !is_host_address(*router)) {
    return refuse(field + "_gateway", gateway, "an address of the same family");
  }
  if (*router == subnet->address)
    return refuse(field + "_gateway", gateway, "another address than the guest's");
  return InterfaceAddress{.subnet = *subnet, .gateway = *router};
}

bool is_hostname(std::string_view name) {
  return is_domain(name, false, kMaxHostnameBytes);
}

Result<MachinePlan> make_machine_plan(const proto::ConfigureRequest& request) {
  MachinePlan plan;
  if (!request.hostname().empty() && !is_hostname(request.hostname())) {
    return refuse("hostname", request.hostname(), "letters, digits, hyphens and dots, 64 bytes at most");
  }
  plan.hostname = request.hostname();
  if (request.has_interface()) plan.interface = TRY(make_interface_plan(request.interface()));
  return plan;
}

}  // namespace lambdo::agent
