#include "net/addresses.h"

#include <arpa/inet.h>

#include <cstddef>
#include <span>

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

MacAddress mac_of(std::string_view identity, uint32_t attempt) {
  const std::string text = std::to_string(attempt) + " " + std::string(identity);
  const Sha256::Value hash = Sha256::of(std::as_bytes(std::span(text)));
  MacAddress mac;
  for (size_t i = 0; i < mac.bytes.size(); ++i) mac.bytes[i] = static_cast<uint8_t>(hash[i]);
  mac.bytes[0] = static_cast<uint8_t>((mac.bytes[0] & 0xfc) | 0x02);
  return mac;
}

}  // namespace lambdo::net
