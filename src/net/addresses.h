#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mac_address.h"

/// Addresses as values: an IPv4 address, a network with an address in it.
namespace lambdo::net {

struct Ipv4Address {
  uint32_t value = 0;  ///< in the host's byte order: 192.168.10.1 is 0xc0a80a01

  auto operator<=>(const Ipv4Address&) const = default;
  [[nodiscard]] std::string text() const;
  /// Dotted decimal with four parts, nothing else: inet_pton(3).
  static Result<Ipv4Address> parse(std::string_view text);
};

/// An address with the length of its network's prefix, as an interface has it: 192.168.10.1/24.
struct Ipv4Subnet {
  Ipv4Address address;
  uint8_t prefix_len = 32;

  bool operator==(const Ipv4Subnet&) const = default;
  [[nodiscard]] uint32_t mask() const { return prefix_len == 0 ? 0 : ~uint32_t{0} << (32 - prefix_len); }
  [[nodiscard]] Ipv4Address network() const { return {address.value & mask()}; }
  [[nodiscard]] Ipv4Address broadcast() const { return {address.value | ~mask()}; }
  [[nodiscard]] bool contains(Ipv4Address other) const { return (other.value & mask()) == network().value; }
  [[nodiscard]] std::string text() const;  ///< 192.168.10.1/24
  /// "a.b.c.d/n", or "a.b.c.d" for /32. The address may be any in the network.
  static Result<Ipv4Subnet> parse(std::string_view text);
};

/// An Ethernet address that belongs to `identity`: the same for the same one and the same `attempt`,
/// different for different ones but for chance. Locally administered and unicast (IEEE 802, 8.4).
MacAddress mac_of(std::string_view identity, uint32_t attempt = 0);

}  // namespace lambdo::net
