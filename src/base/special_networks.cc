#include "base/special_networks.h"

#include <algorithm>

#include "base/check.h"

namespace lambdo {

namespace {

struct Row {
  std::string_view network;
  NetworkKind kind;
  std::string_view name;
  std::optional<uint8_t> ipv4_at = std::nullopt;
};

using enum NetworkKind;

constexpr Row kRows[] = {
    {"0.0.0.0/8", this_network, "this network (RFC 791)"},
    {"10.0.0.0/8", private_use, "private use (RFC 1918)"},
    {"100.64.0.0/10", shared, "shared address space (RFC 6598)"},
    {"100.100.100.200", cloud_metadata, "Alibaba Cloud's metadata"},
    {"127.0.0.0/8", loopback, "loopback (RFC 1122)"},
    {"168.63.129.16", cloud_metadata, "Azure's host"},
    {"169.254.0.0/16", link_local, "link-local (RFC 3927), most clouds' metadata"},
    {"172.16.0.0/12", private_use, "private use (RFC 1918)"},
    {"192.0.0.0/24", protocol_assignment, "IETF protocol assignments (RFC 6890)"},
    {"192.0.0.192", cloud_metadata, "Oracle Cloud's older metadata"},
    {"192.0.2.0/24", documentation, "documentation (RFC 5737)"},
    {"192.88.99.0/24", relay_anycast, "6to4 relays (RFC 7526)"},
    {"192.168.0.0/16", private_use, "private use (RFC 1918)"},
    {"198.18.0.0/15", benchmarking, "benchmarking (RFC 2544)"},
    {"198.51.100.0/24", documentation, "documentation (RFC 5737)"},
    {"203.0.113.0/24", documentation, "documentation (RFC 5737)"},
    {"224.0.0.0/4", multicast, "multicast (RFC 5771)"},
    {"240.0.0.0/4", reserved, "reserved, and the limited broadcast (RFC 1112, 8190)"},

    {"::/96", ipv4_carrier, "IPv4-compatible (RFC 4291, deprecated)", 12},
    {"::", this_network, "unspecified (RFC 4291)"},
    {"::1", loopback, "loopback (RFC 4291)"},
    {"::ffff:0:0/96", ipv4_carrier, "IPv4-mapped (RFC 4291)", 12},
    {"64:ff9b::/96", ipv4_carrier, "NAT64 (RFC 6052)", 12},
    {"64:ff9b:1::/48", ipv4_carrier, "local NAT64 (RFC 8215)"},
    {"100::/64", protocol_assignment, "discard only (RFC 6666)"},
    {"2001::/23", protocol_assignment, "IETF protocol assignments (RFC 2928)"},
    {"2001::/32", ipv4_carrier, "Teredo (RFC 4380)"},
    {"2001:db8::/32", documentation, "documentation (RFC 3849)"},
    {"2002::/16", ipv4_carrier, "6to4 (RFC 3056)", 2},
    {"3fff::/20", documentation, "documentation (RFC 9637)"},
    {"fc00::/7", private_use, "unique local (RFC 4193)"},
    {"fd00:42::42", cloud_metadata, "Scaleway's metadata"},
    {"fd00:100::100:200", cloud_metadata, "Alibaba Cloud's metadata"},
    {"fd00:a9fe:a9fe::1", cloud_metadata, "Akamai's metadata"},
    {"fd00:c1::a9fe:a9fe", cloud_metadata, "Oracle Cloud's metadata"},
    {"fd00:ec2::/32", cloud_metadata, "AWS's metadata, resolver and clock"},
    {"fd20:ce::254", cloud_metadata, "Google Cloud's metadata"},
    {"fe80::/10", link_local, "link-local (RFC 4291)"},
    {"fec0::/10", private_use, "site-local (RFC 3879, deprecated)"},
    {"ff00::/8", multicast, "multicast (RFC 4291)"},
};

std::vector<SpecialNetwork> parsed() {
  std::vector<SpecialNetwork> networks;
  for (const Row& row : kRows) {
    const auto network = IpSubnet::parse(row.network);
    CHECK(network.has_value());
    networks.push_back({*network, row.kind, row.name, row.ipv4_at});
  }
  return networks;
}

bool is_one_of(NetworkKind kind, NetworkKinds kinds) {
  return std::ranges::find(kinds, kind) != kinds.end();
}

}  // namespace

std::span<const SpecialNetwork> special_networks() {
  static const std::vector<SpecialNetwork> kNetworks = parsed();
  return kNetworks;
}

bool is_special(const IpAddress& address, NetworkKinds kinds) {
  return std::ranges::any_of(special_networks(), [&](const SpecialNetwork& row) {
    return is_one_of(row.kind, kinds) && row.network.contains(address);
  });
}

std::vector<IpSubnet> networks_of(NetworkKinds kinds, bool ipv6) {
  std::vector<IpSubnet> selected;
  for (const SpecialNetwork& row : special_networks()) {
    if (row.network.is_ipv6() == ipv6 && is_one_of(row.kind, kinds)) selected.push_back(row.network);
  }
  const std::vector<IpSubnet> all = selected;
  std::erase_if(selected, [&](const IpSubnet& inner) {
    return std::ranges::any_of(all, [&](const IpSubnet& outer) {
      return outer.prefix_len < inner.prefix_len && outer.contains(inner.address);
    });
  });
  return selected;
}

std::optional<Ipv4Address> carried_ipv4(const Ipv6Address& address) {
  for (const SpecialNetwork& row : special_networks()) {
    if (!row.ipv4_at || !row.network.contains(address)) continue;
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | address.bytes[*row.ipv4_at + i];
    return Ipv4Address{value};
  }
  return std::nullopt;
}

bool is_loopback(const IpAddress& address) {
  static const Ipv6Subnet kMapped = *Ipv6Subnet::parse("::ffff:0:0/96");
  const auto* ipv6 = std::get_if<Ipv6Address>(&address.value);
  if (ipv6 != nullptr && kMapped.contains(*ipv6)) return is_special(*carried_ipv4(*ipv6), {loopback});
  return is_special(address, {loopback});
}

bool is_host_address(const IpAddress& address) {
  return !is_special(address, {this_network, loopback, multicast, reserved});
}

}  // namespace lambdo
