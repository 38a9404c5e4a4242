#include "agent/network_plan.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
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

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
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

/// Whether one host alone can have it as its own.
bool is_unicast(const IpAddress& ip) {
  if (ip.family == AF_INET) return ip.bytes[0] != 0 && ip.bytes[0] != 127 && ip.bytes[0] < 224;
  IpAddress loopback{.family = AF_INET6};
  const bool unspecified = ip == loopback;
  loopback.bytes[15] = 1;
  return !unspecified && ip != loopback && ip.bytes[0] != 0xff;
}

Result<MacAddress> mac_field(std::string_view field, const std::string& text) {
  const auto mac = parse_mac(text);
  if (!mac) return refuse(field, text, "a unicast MAC address like 02:00:00:00:00:01");
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
    const auto ip = parse_ip(server);
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

std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress mac{};
  if (text.size() != 3 * mac.size() - 1) return std::nullopt;
  for (size_t i = 0; i < mac.size(); ++i) {
    const int high = hex_digit(text[3 * i]);
    const int low = hex_digit(text[3 * i + 1]);
    if (high < 0 || low < 0 || (i + 1 < mac.size() && text[3 * i + 2] != ':')) return std::nullopt;
    mac[i] = static_cast<uint8_t>(high << 4 | low);
  }
  const bool is_group = (mac[0] & 1) != 0;
  if (is_group || mac == MacAddress{}) return std::nullopt;
  return mac;
}

std::string to_text(const MacAddress& mac) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : mac) {
    if (!text.empty()) text += ':';
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

std::string_view IpAddress::view() const {
  return {reinterpret_cast<const char*>(bytes.data()), family == AF_INET ? 4U : 16U};
}

std::string IpAddress::text() const {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(family, bytes.data(), text, sizeof text);
  return text;
}

bool IpAddress::is_in(const IpAddress& network, unsigned prefix_bits) const {
  if (family != network.family || prefix_bits > view().size() * 8) return false;
  const size_t whole = prefix_bits / 8;
  if (std::memcmp(bytes.data(), network.bytes.data(), whole) != 0) return false;
  const unsigned rest = prefix_bits % 8;
  return rest == 0 || (bytes[whole] ^ network.bytes[whole]) >> (8 - rest) == 0;
}

std::optional<IpAddress> parse_ip(const std::string& text) {
  // A NUL would end the text for inet_pton().
  if (text.contains('\0')) return std::nullopt;
  for (const int family : {AF_INET, AF_INET6}) {
    IpAddress ip{.family = family};
    if (::inet_pton(family, text.c_str(), ip.bytes.data()) == 1) return ip;
  }
  return std::nullopt;
}

Result<InterfaceAddress> parse_interface_address(int family, const std::string& field,
                                                 const std::string& text, const std::string& gateway) {
  const char* example = family == AF_INET ? "an address with its prefix, like 192.168.10.2/24"
                                          : "an address with its prefix, like fd00::2/64";
  const size_t slash = text.find('/');
  const auto ip = parse_ip(text.substr(0, slash));
  const auto prefix = slash == std::string::npos ? std::nullopt : parse_uint(text.substr(slash + 1));
  if (!ip || ip->family != family || !prefix || *prefix < 1 || *prefix > ip->view().size() * 8) {
    return refuse(field, text, example);
  }
  if (!is_unicast(*ip)) return refuse(field, text, "an address that one host can have");
  InterfaceAddress result{.address = *ip, .prefix_bits = static_cast<unsigned>(*prefix)};
  if (gateway.empty()) return result;
  result.gateway = parse_ip(gateway);
  if (!result.gateway || result.gateway->family != family || !is_unicast(*result.gateway)) {
    return refuse(field + "_gateway", gateway, "an address of the same family");
  }
  if (*result.gateway == *ip) return refuse(field + "_gateway", gateway, "another address than the guest's");
  return result;
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
