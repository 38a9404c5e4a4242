#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ip.h"
#include "base/mac_address.h"

/// Ethernet frames as a guest could write them, and what to look for in those that arrive.
namespace lambdo::net {

inline constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

struct Flow {
  MacAddress from_mac;
  MacAddress to_mac;
  Ipv4Address from;
  Ipv4Address to;
  uint16_t from_port = 40000;
  uint16_t to_port = 9999;
};

std::string ethernet(MacAddress from, MacAddress to, uint16_t type, std::string_view payload);
/// `payload` is what a capture finds it by.
std::string udp_frame(const Flow& flow, std::string_view payload);
/// A SYN that carries `payload`.
std::string tcp_syn_frame(const Flow& flow, std::string_view payload);
/// `message` begins with type, code and two bytes for the checksum, which is put there.
std::string icmp_frame(const Flow& flow, std::string message);
std::string ping_frame(const Flow& flow, std::string_view payload);
/// An ICMP error about the packet in the frame `quoted`: its port is unreachable.
std::string unreachable_frame(const Flow& flow, const std::string& quoted);

struct Ipv6Flow {
  MacAddress from_mac;
  MacAddress to_mac;
  Ipv6Address from;
  Ipv6Address to;
  uint16_t from_port = 40000;
  uint16_t to_port = 9999;
};
std::string udp6_frame(const Ipv6Flow& flow, std::string_view payload);
/// `message` begins with type, code and two bytes for the checksum, which is put there.
std::string icmpv6_frame(const Ipv6Flow& flow, std::string message);
std::string unreachable6_frame(const Ipv6Flow& flow, const std::string& quoted);
/// An unsolicited router advertisement, or any other IPv6 packet.
std::string ipv6_frame(MacAddress from, MacAddress to, uint8_t next_header, std::string_view payload);

struct Arp {
  uint16_t operation = 1;
  MacAddress sender_mac;
  Ipv4Address sender;
  MacAddress target_mac;
  Ipv4Address target;
};
std::string arp_frame(MacAddress from, MacAddress to, const Arp& arp, std::string_view trailer = "");
/// The frame with an 802.1Q tag.
std::string tagged(const std::string& frame, uint16_t vlan);

}  // namespace lambdo::net
