#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

/// IP addresses as values: of IPv4, of IPv6, of either, and networks with an address in them. Which networks
/// are special is base/special_networks.h's.
namespace lambdo {

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

struct Ipv6Address {
  std::array<uint8_t, 16> bytes{};  ///< in the network's order

  auto operator<=>(const Ipv6Address&) const = default;
  /// Neither special nor reserved: 2000::/3 or fc00::/7 (RFC 4291, 4193).
  [[nodiscard]] bool is_global_or_unique_local() const {
    return is_global_unicast() || (bytes[0] & 0xfe) == 0xfc;
  }
  /// 2000::/3, the only part of the address space that the Internet routes today (RFC 4291, 2.4).
  [[nodiscard]] bool is_global_unicast() const { return (bytes[0] & 0xe0) == 0x20; }
  [[nodiscard]] std::string text() const;  ///< RFC 5952
  /// What inet_pton(3) takes: no zone, no brackets.
  static Result<Ipv6Address> parse(std::string_view text);
};

/// An address with the length of its network's prefix: fd12:3456:789a:1::1/64.
struct Ipv6Subnet {
  Ipv6Address address;
  uint8_t prefix_len = 128;

  bool operator==(const Ipv6Subnet&) const = default;
  [[nodiscard]] Ipv6Address network() const;
  [[nodiscard]] bool contains(const Ipv6Address& other) const;
  [[nodiscard]] std::string text() const;
  /// "ADDRESS/n", or "ADDRESS" for /128. The address may be any in the network.
  static Result<Ipv6Subnet> parse(std::string_view text);
};

/// The address of a network whose last 32 bits are an IPv4 address: fd00::c0a8:a05 for fd00::1/64 and
/// 192.168.10.5. The prefix is at most 96 bits long.
Ipv6Address address_in(const Ipv6Subnet& network, Ipv4Address last_bits);

/// An address of either family, without port or zone.
struct IpAddress {
  std::variant<Ipv4Address, Ipv6Address> value;

  IpAddress() = default;
  // An address of one family is one of either.
  IpAddress(Ipv4Address address) : value(address) {}  // NOLINT(google-explicit-constructor)
  IpAddress(Ipv6Address address) : value(address) {}  // NOLINT(google-explicit-constructor)
  bool operator==(const IpAddress&) const = default;
  [[nodiscard]] bool is_ipv6() const { return std::holds_alternative<Ipv6Address>(value); }
  [[nodiscard]] int family() const;  ///< AF_INET or AF_INET6
  /// The length of an address of its family: 32 or 128.
  [[nodiscard]] uint8_t bits() const { return is_ipv6() ? 128 : 32; }
  /// 4 or 16 bytes in the network's order.
  [[nodiscard]] std::string bytes() const;
  /// What `bytes` gives; none where there are not 4 or 16.
  static std::optional<IpAddress> from_bytes(std::string_view bytes);
  [[nodiscard]] std::string text() const;
  /// Four decimal numbers with dots, or RFC 4291, 2.2. Code::invalid_argument for anything else.
  static Result<IpAddress> parse(std::string_view text);
};

/// A network of either family, with an address in it.
struct IpSubnet {
  IpAddress address;
  uint8_t prefix_len = 32;

  IpSubnet() = default;
  IpSubnet(IpAddress in, uint8_t length) : address(in), prefix_len(length) {}
  IpSubnet(Ipv4Subnet in) : IpSubnet(in.address, in.prefix_len) {}  // NOLINT(google-explicit-constructor)
  IpSubnet(Ipv6Subnet in) : IpSubnet(in.address, in.prefix_len) {}  // NOLINT(google-explicit-constructor)
  bool operator==(const IpSubnet&) const = default;
  [[nodiscard]] bool is_ipv6() const { return address.is_ipv6(); }
  [[nodiscard]] IpAddress network() const;
  /// None of the other family.
  [[nodiscard]] bool contains(const IpAddress& other) const;
  [[nodiscard]] std::string text() const;
  /// The same with the network's first address.
  [[nodiscard]] std::string prefix_text() const { return IpSubnet(network(), prefix_len).text(); }
  static Result<IpSubnet> parse(std::string_view text);
};

}  // namespace lambdo
