#include "net/addresses.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "base/check.h"
#include "base/sha256.h"
#include "base/text.h"

namespace lambdo::net {

std::string Ipv4Address::text() const {
  char buffer[INET_ADDRSTRLEN];
  const in_addr address{htonl(value)};
  return ::inet_ntop(AF_INET, &address, buffer, sizeof buffer);
}

Result<Ipv4Address> Ipv4Address::parse(std::string_view text) {
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1 || text.contains('\0')) {
    return fail(Code::invalid_argument, "'" + std::string(text) + "' is not an IPv4 address");
  }
  return Ipv4Address{ntohl(address.s_addr)};
}

std::string Ipv4Subnet::text() const {
  return address.text() + "/" + std::to_string(prefix_len);
}

Result<Ipv4Subnet> Ipv4Subnet::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = Ipv4Address::parse(text.substr(0, slash));
  const auto prefix = slash == std::string_view::npos ? 32 : parse_uint(text.substr(slash + 1));
  if (!address || !prefix || *prefix > 32) {
    return fail(Code::invalid_argument,
                "'" + std::string(text) + "' is not an IPv4 network; write one such as 192.168.10.1/24");
  }
  return Ipv4Subnet{*address, static_cast<uint8_t>(*prefix)};
}

std::string Ipv6Address::text() const {
  char buffer[INET6_ADDRSTRLEN];
  return ::inet_ntop(AF_INET6, bytes.data(), buffer, sizeof buffer);
}

Result<Ipv6Address> Ipv6Address::parse(std::string_view text) {
  Ipv6Address address;
  if (::inet_pton(AF_INET6, std::string(text).c_str(), address.bytes.data()) != 1 || text.contains('\0')) {
    return fail(Code::invalid_argument, "'" + std::string(text) + "' is not an IPv6 address");
  }
  return address;
}

Ipv6Address Ipv6Subnet::network() const {
  Ipv6Address network = address;
  for (size_t i = 0; i < network.bytes.size(); ++i) {
    const int left = std::clamp(prefix_len - static_cast<int>(i * 8), 0, 8);
    network.bytes[i] = static_cast<uint8_t>(network.bytes[i] & (0xff00 >> left));
  }
  return network;
}

bool Ipv6Subnet::contains(const Ipv6Address& other) const {
  return Ipv6Subnet{other, prefix_len}.network() == network();
}

std::string Ipv6Subnet::text() const {
  return address.text() + "/" + std::to_string(prefix_len);
}

Result<Ipv6Subnet> Ipv6Subnet::parse(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = Ipv6Address::parse(text.substr(0, slash));
  const auto prefix = slash == std::string_view::npos ? 128 : parse_uint(text.substr(slash + 1));
  if (!address || !prefix || *prefix > 128) {
    return fail(
        Code::invalid_argument,
        "'" + std::string(text) + "' is not an IPv6 network; write one such as fd12:3456:789a:1::1/64");
  }
  return Ipv6Subnet{*address, static_cast<uint8_t>(*prefix)};
}

Ipv6Address address_in(const Ipv6Subnet& network, Ipv4Address last_bits) {
  CHECK(network.prefix_len <= 96);
  Ipv6Address address = network.network();
  for (size_t i = 0; i < 4; ++i)
    address.bytes[12 + i] = static_cast<uint8_t>(last_bits.value >> (24 - 8 * i));
  return address;
}

std::string IpAddress::text() const {
  return std::visit([](const auto& address) { return address.text(); }, value);
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.contains(':')) return Ipv6Address::parse(text);
  return Ipv4Address::parse(text);
}

IpAddress IpSubnet::network() const {
  if (is_ipv6()) return Ipv6Subnet{std::get<Ipv6Address>(address.value), prefix_len}.network();
  return Ipv4Subnet{std::get<Ipv4Address>(address.value), prefix_len}.network();
}

bool IpSubnet::contains(const IpAddress& other) const {
  return other.is_ipv6() == is_ipv6() && IpSubnet(other, prefix_len).network() == network();
}

std::string IpSubnet::text() const {
  return address.text() + "/" + std::to_string(prefix_len);
}

Result<IpSubnet> IpSubnet::parse(std::string_view text) {
  if (text.contains(':')) return Ipv6Subnet::parse(text);
  return Ipv4Subnet::parse(text);
}

MacAddress mac_of(std::string_view identity, uint32_t attempt) {
  const std::string text = std::to_string(attempt) + " " + std::string(identity);
  const Sha256::Value hash = Sha256::of(std::as_bytes(std::span(text)));
  MacAddress mac;
  for (size_t i = 0; i < mac.bytes.size(); ++i) mac.bytes[i] = static_cast<uint8_t>(hash[i]);
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
  return mac;
}

}  // namespace lambdo::net
