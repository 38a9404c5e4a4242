#include "base/ip.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace lambdo {

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

int IpAddress::family() const {
  return is_ipv6() ? AF_INET6 : AF_INET;
}

std::string IpAddress::bytes() const {
  if (const auto* ipv6 = std::get_if<Ipv6Address>(&value)) return {ipv6->bytes.begin(), ipv6->bytes.end()};
  const uint32_t number = htonl(std::get<Ipv4Address>(value).value);
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

std::optional<IpAddress> IpAddress::from_bytes(std::string_view bytes) {
  uint32_t number = 0;
  Ipv6Address ipv6;
  if (bytes.size() == sizeof number) {
    std::memcpy(&number, bytes.data(), sizeof number);
    return Ipv4Address{ntohl(number)};
  }
  if (bytes.size() != ipv6.bytes.size()) return std::nullopt;
  std::ranges::copy(bytes, ipv6.bytes.begin());
  return ipv6;
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

}  // namespace lambdo
