#include "frames.h"

namespace lambdo::net {

namespace {

constexpr size_t kEthernetBytes = 14;

std::string u8(unsigned value) {
  return {static_cast<char>(value)};
}
std::string u16(unsigned value) {
  return u8(value >> 8) + u8(value);
}
std::string u32(uint32_t value) {
  return u16(value >> 16) + u16(value);
}
std::string bytes_of(MacAddress mac) {
  return {reinterpret_cast<const char*>(mac.bytes.data()), 6};
}

/// RFC 1071.
uint16_t checksum(std::string_view bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    sum += static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])) << (i % 2 == 0 ? 8 : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

std::string ipv4(const Flow& flow, uint8_t protocol, std::string_view payload) {
  const auto header = [&](uint16_t sum) {
    return u8(0x45) + u8(0) + u16(static_cast<unsigned>(20 + payload.size())) + u16(1) + u16(0) + u8(64) +
           u8(protocol) + u16(sum) + u32(flow.from.value) + u32(flow.to.value);
  };
  return ethernet(flow.from_mac, flow.to_mac, 0x0800, header(checksum(header(0))) + std::string(payload));
}

std::string bytes_of(const Ipv6Address& address) {
  return {reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()};
}

std::string ipv6(const Ipv6Flow& flow, uint8_t next_header, const std::string& payload) {
  return ethernet(flow.from_mac, flow.to_mac, 0x86dd,
                  u32(0x60000000) + u16(static_cast<unsigned>(payload.size())) + u8(next_header) + u8(255) +
                      bytes_of(flow.from) + bytes_of(flow.to) + payload);
}

/// Of what `payload` is behind the pseudo-header (RFC 8200, 8.1).
uint16_t ipv6_checksum(const Ipv6Flow& flow, uint8_t next_header, const std::string& payload) {
  return checksum(bytes_of(flow.from) + bytes_of(flow.to) + u32(static_cast<uint32_t>(payload.size())) +
                  u32(next_header) + payload);
}

}  // namespace

std::string ethernet(MacAddress from, MacAddress to, uint16_t type, std::string_view payload) {
  return bytes_of(to) + bytes_of(from) + u16(type) + std::string(payload);
}

std::string udp_frame(const Flow& flow, std::string_view payload) {
  return ipv4(flow, 17,
              u16(flow.from_port) + u16(flow.to_port) + u16(static_cast<unsigned>(8 + payload.size())) +
                  u16(0) + std::string(payload));
}

std::string tcp_syn_frame(const Flow& flow, std::string_view payload) {
  const auto segment = [&](uint16_t sum) {
    return u16(flow.from_port) + u16(flow.to_port) + u32(1) + u32(0) + u8(0x50) + u8(0x02) + u16(65535) +
           u16(sum) + u16(0) + std::string(payload);
  };
  const std::string pseudo =
      u32(flow.from.value) + u32(flow.to.value) + u16(6) + u16(static_cast<unsigned>(20 + payload.size()));
  return ipv4(flow, 6, segment(checksum(pseudo + segment(0))));
}

std::string icmp_frame(const Flow& flow, std::string message) {
  message.replace(2, 2, u16(checksum(message)));
  return ipv4(flow, 1, message);
}

std::string ping_frame(const Flow& flow, std::string_view payload) {
  return icmp_frame(flow, u8(8) + u8(0) + u16(0) + u16(7) + u16(1) + std::string(payload));
}

std::string unreachable_frame(const Flow& flow, const std::string& quoted) {
  return icmp_frame(flow, u8(3) + u8(3) + u16(0) + u32(0) + quoted.substr(kEthernetBytes));
}

std::string unreachable6_frame(const Ipv6Flow& flow, const std::string& quoted) {
  return icmpv6_frame(flow, u8(1) + u8(4) + u16(0) + u32(0) + quoted.substr(kEthernetBytes));
}

std::string udp6_frame(const Ipv6Flow& flow, std::string_view payload) {
  const auto datagram = [&](uint16_t sum) {
    return u16(flow.from_port) + u16(flow.to_port) + u16(static_cast<unsigned>(8 + payload.size())) +
           u16(sum) + std::string(payload);
  };
  return ipv6(flow, 17, datagram(ipv6_checksum(flow, 17, datagram(0))));
}

std::string icmpv6_frame(const Ipv6Flow& flow, std::string message) {
  message.replace(2, 2, u16(ipv6_checksum(flow, 58, message)));
  return ipv6(flow, 58, message);
}

std::string ipv6_frame(MacAddress from, MacAddress to, uint8_t next_header, std::string_view payload) {
  const std::string link_local = u16(0xfe80) + std::string(12, '\0') + u16(1);
  const std::string all_nodes = u16(0xff02) + std::string(12, '\0') + u16(1);
  return ethernet(from, to, 0x86dd,
                  u32(0x60000000) + u16(static_cast<unsigned>(payload.size())) + u8(next_header) + u8(255) +
                      link_local + all_nodes + std::string(payload));
}

std::string arp_frame(MacAddress from, MacAddress to, const Arp& arp, std::string_view trailer) {
  return ethernet(from, to, 0x0806,
                  u16(1) + u16(0x0800) + u8(6) + u8(4) + u16(arp.operation) + bytes_of(arp.sender_mac) +
                      u32(arp.sender.value) + bytes_of(arp.target_mac) + u32(arp.target.value) +
                      std::string(trailer));
}

std::string tagged(const std::string& frame, uint16_t vlan) {
  return frame.substr(0, 12) + u16(0x8100) + u16(vlan) + frame.substr(12);
}

}  // namespace lambdo::net
