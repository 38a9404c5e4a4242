#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/ip.h"

/// The one table of networks that are not the public Internet's: the IANA special-purpose address registries
/// (RFC 6890 and its updates), multicast, what is reserved, what carries IPv4 addresses within IPv6 ones, and
/// where clouds tell a machine its secrets. Who refuses or permits addresses selects rows by their kind:
/// http/private_address (redirects and tokens), net/policy (guests with the public Internet only),
/// net/ruleset (all guests), and addresses that an interface may have.
namespace lambdo {

enum class NetworkKind : uint8_t {
  this_network,  ///< the unspecified address, and IPv4's "this host on this network"
  loopback,
  link_local,           ///< with the clouds' 169.254.169.254
  private_use,          ///< of somebody's own network: RFC 1918, unique local, site-local
  shared,               ///< between a provider and its customers (RFC 6598)
  protocol_assignment,  ///< set aside for a protocol; one that is in public use is not told apart
  documentation,
  benchmarking,
  relay_anycast,  ///< of 6to4 (RFC 7526, deprecated)
  multicast,
  reserved,        ///< for a future that has not come, and the limited broadcast address
  ipv4_carrier,    ///< IPv6 addresses that have an IPv4 address in them
  cloud_metadata,  ///< where clouds tell a machine its secrets, besides link-local
};

struct SpecialNetwork {
  IpSubnet network;
  NetworkKind kind;
  std::string_view name;  ///< what it is, for people
  /// Of an ipv4_carrier: the byte at which the IPv4 address begins, where all its addresses have it there.
  std::optional<uint8_t> ipv4_at;
};

/// All rows, of IPv4 first. A row may lie within another.
std::span<const SpecialNetwork> special_networks();

using NetworkKinds = std::initializer_list<NetworkKind>;

/// Whether the address lies in a network of one of these kinds.
bool is_special(const IpAddress& address, NetworkKinds kinds);
/// The networks of these kinds and one family, without those that lie within another one of them.
std::vector<IpSubnet> networks_of(NetworkKinds kinds, bool ipv6);

/// The IPv4 address that an address of an ipv4_carrier stands for, where its place is known.
std::optional<Ipv4Address> carried_ipv4(const Ipv6Address& address);

/// 127.0.0.0/8, also as IPv4-mapped, and ::1.
bool is_loopback(const IpAddress& address);
/// Whether one machine can have the address on an interface for itself: it is neither this network's,
/// loopback, multicast nor reserved.
bool is_host_address(const IpAddress& address);

}  // namespace lambdo
