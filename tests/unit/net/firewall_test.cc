#include "net/firewall.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "bench.h"
#include "fixture.h"
#include "frames.h"
#include "net/addresses.h"
#include "test.h"

namespace lambdo::net {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSoon{2000};
/// A dropped frame is dropped when it has been sent, mostly; longer only makes a mistake more likely to show.
constexpr milliseconds kNever{30};

milliseconds limit_for(bool expected) {
  return expected ? kSoon : kNever;
}
constexpr const char* kWorld = "203.0.113.2";

FirewallSettings settings_of(const Bench& bench) {
  return {.bridge = Bench::kBridge,
          .port_prefix = Bench::kPrefix,
          .gateway = bench.gateway(),
          .agent_port = Bench::kAgentPort,
          .resolvers = {ip("198.18.0.53"), ip("168.63.129.16")}};
}

Policy full() {
  return {.access = Policy::Access::full};
}

Firewall::Guest as_guest(const TestGuest& guest, const Policy& policy) {
  return {guest.port, guest.lease, policy};
}

Policy::Destination to(const char* subnet, Policy::Protocol protocol = Policy::Protocol::any,
                       uint16_t first_port = 0, uint16_t last_port = 65535) {
  return {value_of(Ipv4Subnet::parse(subnet)), protocol, first_port, last_port};
}

/// A frame by what it stands for, and whether it gets through.
struct Case {
  const char* name;
  std::string frame;
  bool passes = false;
};

/// The bytes that tell a case's frame from all others.
std::string tag(size_t number) {
  return "<frame " + std::to_string(number) + ">";
}

}  // namespace

TEST_CASE("a guest sends with its own addresses only, and IPv4 and ARP only") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  const TestGuest other = bench.add_guest(2);
  require_ok(firewall.add_guest(as_guest(guest, full())));
  require_ok(firewall.add_guest(as_guest(other, full())));
  const Lease& own = guest.lease;
  const MacAddress host = bench.bridge().mac;
  const Flow good = bench.flow(guest, kWorld, 9999);
  const auto with = [&](const std::function<void(Flow&)>& change) {
    Flow flow = good;
    change(flow);
    return flow;
  };
  const Arp asks{.sender_mac = own.mac, .sender = own.address, .target = bench.gateway()};
  const auto arp_with = [&](const std::function<void(Arp&)>& change) {
    Arp arp = asks;
    change(arp);
    return arp;
  };
  size_t n = 0;
  const std::vector<Case> cases{
      {"its own", udp_frame(good, tag(n++)), true},
      {"another's Ethernet address",
       udp_frame(with([&](Flow& f) { f.from_mac = other.lease.mac; }), tag(n++))},
      {"the host's Ethernet address", udp_frame(with([&](Flow& f) { f.from_mac = host; }), tag(n++))},
      {"another's IPv4 address", udp_frame(with([&](Flow& f) { f.from = other.lease.address; }), tag(n++))},
      {"the host's IPv4 address", udp_frame(with([&](Flow& f) { f.from = bench.gateway(); }), tag(n++))},
      {"an address outside", udp_frame(with([](Flow& f) { f.from = ip("8.8.8.8"); }), tag(n++))},
      {"another's both", udp_frame(with([&](Flow& f) {
                                     f.from = other.lease.address;
                                     f.from_mac = other.lease.mac;
                                   }),
                                   tag(n++))},
      {"IPv4 to all", udp_frame(with([](Flow& f) { f.to_mac = kBroadcastMac; }), tag(n++))},
      {"a DHCP server's answer", udp_frame(with([](Flow& f) { f.from_port = 67; }), tag(n++))},
      {"ARP for the host", arp_frame(own.mac, kBroadcastMac, asks, tag(n++)), true},
      {"ARP with another's IPv4 address",
       arp_frame(own.mac, kBroadcastMac, arp_with([&](Arp& a) { a.sender = other.lease.address; }),
                 tag(n++))},
      {"ARP with the host's IPv4 address",
       arp_frame(own.mac, kBroadcastMac, arp_with([&](Arp& a) { a.sender = bench.gateway(); }), tag(n++))},
      {"ARP with another's Ethernet address within",
       arp_frame(own.mac, kBroadcastMac, arp_with([&](Arp& a) { a.sender_mac = other.lease.mac; }),
                 tag(n++))},
      {"ARP in another's frame", arp_frame(other.lease.mac, kBroadcastMac, asks, tag(n++))},
      {"ARP for another address",
       arp_frame(own.mac, kBroadcastMac, arp_with([](Arp& a) { a.target = ip("192.168.10.77"); }), tag(n++))},
      {"an ARP operation that nobody needs",
       arp_frame(own.mac, kBroadcastMac, arp_with([](Arp& a) { a.operation = 3; }), tag(n++))},
      {"a router advertisement",
       ipv6_frame(own.mac, {{0x33, 0x33, 0, 0, 0, 1}}, 58, "\x86\0\0\0" + tag(n++))},
      {"IPv6", ipv6_frame(own.mac, host, 17, tag(n++))},
      {"a VLAN's IPv4", tagged(udp_frame(good, tag(n++)), 5)},
      {"IPv4 with a priority tag", tagged(udp_frame(good, tag(n++)), 0)},
      {"another protocol", ethernet(own.mac, host, 0x88b5, tag(n++))},
  };
  Capture at_host = Capture::of_interface(Bench::kBridge);
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(cases[i].name);
    guest.send(cases[i].frame);
    CHECK(at_host.sees(tag(i), limit_for(cases[i].passes)) == cases[i].passes);
  }
  const TrafficCounters counters = value_of(firewall.counters(guest.port));
  CHECK(counters.spoofed_packets == cases.size() - 2);
  CHECK(value_of(firewall.counters(other.port)).spoofed_packets == 0);
  // Each of them does arrive where there are no rules.
  require_ok(firewall.remove());
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(cases[i].name);
    guest.send(cases[i].frame);
    CHECK(at_host.sees(tag(i), kSoon));
  }
}

TEST_CASE("frames that a bridge hands to the port itself are no way past the rules") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest(as_guest(guest, full())));
  Capture service = Capture::of_udp_port(9999);
  const MacAddress lldp{{0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e}};
  Flow flow = bench.flow(guest, "203.0.113.1", 9999);
  flow.to_mac = lldp;
  const Arp asks{.sender_mac = guest.lease.mac, .sender = guest.lease.address, .target = ip("203.0.113.1")};
  // An answer names who was asked for.
  const std::string answer("\xcb\x00\x71\x01", 4);
  guest.send(udp_frame(flow, "past"));
  CHECK_FALSE(service.sees("past", kNever));
  guest.send(arp_frame(guest.lease.mac, lldp, asks));
  CHECK_FALSE(guest.tap.sees(answer, kNever));
  require_ok(firewall.remove());
  require_ok(sys::write_file("/proc/sys/net/ipv4/conf/" + guest.port + "/rp_filter", "0"));
  guest.send(udp_frame(flow, "past"));
  CHECK(service.sees("past", kSoon));
  guest.send(arp_frame(guest.lease.mac, lldp, asks));
  CHECK(guest.tap.sees(answer, kSoon));
}

TEST_CASE("no frame of a guest reaches another, by isolation and by rules, each alone") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1, false);
  TestGuest other = bench.add_guest(2, false);
  require_ok(firewall.add_guest(as_guest(guest, full())));
  require_ok(firewall.add_guest(as_guest(other, full())));
  Flow direct = bench.flow(guest, "192.168.10.3", 9999);
  direct.to_mac = other.lease.mac;
  const Flow by_host = bench.flow(guest, "192.168.10.3", 9999);
  const Arp asks{.sender_mac = guest.lease.mac, .sender = guest.lease.address, .target = other.lease.address};
  const auto reaches = [&](bool direct_too, bool routed) {
    guest.send(udp_frame(direct, "direct"));
    guest.send(arp_frame(guest.lease.mac, kBroadcastMac, asks, "asking"));
    guest.send(ethernet(guest.lease.mac, kBroadcastMac, 0x88b5, "to all"));
    std::string seen;
    for (const char* bytes : {"direct", "asking", "to all"}) {
      if (other.tap.sees(bytes, limit_for(direct_too))) seen += std::string(bytes) + ", ";
    }
    guest.send(udp_frame(by_host, "by the host"));
    if (other.tap.sees("by the host", limit_for(routed))) seen += "by the host";
    other.tap.clear();
    return seen;
  };
  CHECK(reaches(false, false) == "");
  require_ok(firewall.remove());
  CHECK(reaches(true, true) == "direct, asking, to all, by the host");
  for (const TestGuest* port : std::vector<const TestGuest*>{&guest, &other}) {
    require_ok(set_port_flags(bench.socket(), value_of(find_link(bench.socket(), port->port)), {}));
  }
  // Routing by the host is for rules to stop.
  CHECK(reaches(false, true) == "by the host");
}

TEST_CASE("a frame for one guest leaves the bridge by no other's port") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  TestGuest guest = bench.add_guest(1, false);
  TestGuest other = bench.add_guest(2, false);
  require_ok(firewall.add_guest(as_guest(guest, {})));
  require_ok(firewall.add_guest(as_guest(other, {})));
  // The bridge no longer knows where the guest is, so it floods.
  require_ok(delete_forwarding_entry(bench.socket(), value_of(find_link(bench.socket(), guest.port)),
                                     guest.lease.mac));
  const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(1234);
  address.sin_addr.s_addr = htonl(guest.lease.address.value);
  const auto send = [&](std::string_view bytes) {
    REQUIRE(::sendto(socket.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&address),
                     sizeof address) == static_cast<ssize_t>(bytes.size()));
  };
  send("private");
  CHECK(guest.tap.sees("private", kSoon));
  CHECK_FALSE(other.tap.sees("private", kNever));
  CHECK(value_of(firewall.counters(guest.port)).received_packets == 1);
  require_ok(firewall.remove());
  send("flooded");
  CHECK(guest.tap.sees("flooded", kSoon));
  CHECK(other.tap.sees("flooded", kSoon));
}

TEST_CASE("of the host a guest reaches the agents' port only") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest(as_guest(guest, full())));
  // A port that is closed answers too, by RST: the answer's addresses and ports tell that it arrived.
  struct Try {
    const char* address;
    uint16_t port;
    bool passes;
  };
  const std::vector<Try> tries{{"192.168.10.1", Bench::kAgentPort, true},
                               {"192.168.10.1", 22, false},
                               {"192.168.10.1", 53, false},
                               {"203.0.113.1", Bench::kAgentPort, false},
                               {"203.0.113.1", 80, false},
                               {"127.0.0.1", Bench::kAgentPort, false}};
  const auto answered = [&](const Try& attempt, bool expected) {
    guest.tap.clear();
    guest.send(tcp_syn_frame(bench.flow(guest, attempt.address, attempt.port), ""));
    const uint16_t ports[2] = {htons(attempt.port), htons(40000)};
    return guest.tap.sees({reinterpret_cast<const char*>(ports), sizeof ports}, limit_for(expected));
  };
  for (const Try& attempt : tries) {
    CAPTURE(attempt.address);
    CAPTURE(attempt.port);
    CHECK(answered(attempt, attempt.passes) == attempt.passes);
  }
  Capture service = Capture::of_udp_port(9999);
  const auto datagram_arrives = [&](bool expected) {
    guest.send(udp_frame(bench.flow(guest, "192.168.10.1", 9999), "datagram"));
    return service.sees("datagram", limit_for(expected));
  };
  guest.tap.clear();
  guest.send(ping_frame(bench.flow(guest, "192.168.10.1", 0), "ping"));
  CHECK_FALSE(guest.tap.sees("ping", kNever));
  CHECK_FALSE(datagram_arrives(false));
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 6);
  require_ok(firewall.remove());
  CHECK(datagram_arrives(true));
  for (const Try& attempt : tries) {
    CAPTURE(attempt.address);
    const bool arrives = std::string_view(attempt.address) != "127.0.0.1";
    CHECK(answered(attempt, arrives) == arrives);
  }
}

struct Packet {
  const char* name;
  char kind;  ///< t(cp), u(dp), i(cmp)
  const char* address;
  uint16_t port;
  bool egress;  ///< passes the policy of that name below
  bool full;
};

static const std::vector<Packet>& packets_for_policies() {
  static const std::vector<Packet> packets{
      {"an allowed port", 't', "198.51.100.7", 443, true, true},
      {"another port", 't', "198.51.100.7", 444, false, true},
      {"the port with the other protocol", 'u', "198.51.100.7", 443, false, true},
      {"a range's first port", 'u', "198.51.100.7", 4000, true, true},
      {"a range's last port", 'u', "198.51.100.7", 4002, true, true},
      {"behind the range", 'u', "198.51.100.7", 4003, false, true},
      {"ICMP where ports are allowed", 'i', "198.51.100.7", 0, false, true},
      {"ICMP where all is allowed", 'i', "192.0.2.1", 0, true, true},
      {"any port where all is allowed", 't', "192.0.2.1", 12345, true, true},
      {"denied though allowed", 't', "192.0.2.129", 443, false, false},
      {"elsewhere", 't', "8.8.8.8", 443, false, true},
      {"the cloud's metadata", 't', "169.254.169.254", 80, false, false},
      {"Azure's host", 't', "168.63.129.16", 80, false, false},
      {"Azure's host as a resolver", 'u', "168.63.129.16", 53, true, true},
      {"Alibaba's metadata", 't', "100.100.100.200", 80, false, false},
      {"Alibaba's neighbour", 't', "100.100.100.201", 80, true, true},
      {"Oracle's older metadata", 't', "192.0.0.192", 80, false, false},
      {"another link-local address", 'u', "169.254.1.1", 1, false, false},
      {"multicast", 'u', "224.0.0.251", 5353, false, false},
      {"the configured resolver", 'u', "198.18.0.53", 53, true, true},
      {"the configured resolver by TCP", 't', "198.18.0.53", 53, true, true},
      {"another resolver", 'u', "203.0.113.2", 53, false, false},
      {"another resolver by TCP", 't', "203.0.113.2", 53, false, false},
      {"another resolver by TLS", 't', "203.0.113.2", 853, false, false},
  };
  return packets;
}

static std::string frame_of(const Bench& bench, const TestGuest& guest, const Packet& packet,
                            std::string_view bytes) {
  const Flow flow = bench.flow(guest, packet.address, packet.port);
  if (packet.kind == 't') return tcp_syn_frame(flow, bytes);
  return packet.kind == 'u' ? udp_frame(flow, bytes) : ping_frame(flow, bytes);
}

TEST_CASE("a policy decides where a guest's packets go") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  const TestGuest marker = bench.add_guest(2);
  require_ok(firewall.add_guest(as_guest(marker, full())));
  const Policy egress{.access = Policy::Access::egress,
                      .allowed = {to("198.51.100.0/24", Policy::Protocol::tcp, 443, 443),
                                  to("198.51.100.0/24", Policy::Protocol::udp, 4000, 4002),
                                  to("192.0.2.0/24"), to("169.254.0.0/16"), to("203.0.113.0/24"),
                                  to("168.63.129.16/32"), to("100.100.100.0/24"), to("192.0.0.0/24")},
                      .denied = {value_of(Ipv4Subnet::parse("192.0.2.128/25"))}};
  const Policy full_but{.access = Policy::Access::full,
                        .denied = {value_of(Ipv4Subnet::parse("192.0.2.128/25"))}};
  const std::vector<Packet>& packets = packets_for_policies();
  int round = 0;
  const auto check_all = [&](const char* policy, const std::function<bool(const Packet&)>& passes) {
    CAPTURE(policy);
    ++round;
    for (size_t i = 0; i < packets.size(); ++i) {
      CAPTURE(packets[i].name);
      const std::string bytes = std::to_string(round) + tag(i);
      guest.send(frame_of(bench, guest, packets[i], bytes));
      if (passes(packets[i])) {
        CHECK(bench.outside().sees(bytes, kSoon));
      } else {
        // What is sent after it arrives, and it does not.
        const std::string end = "<end " + std::to_string(round) + "/" + std::to_string(i) + ">";
        marker.send(udp_frame(bench.flow(marker, kWorld, 9), end));
        CHECK(bench.outside().sees_without(bytes, end, kSoon));
      }
    }
  };
  require_ok(firewall.add_guest(as_guest(guest, {})));
  check_all("none", [](const Packet&) { return false; });
  // The multicast is routed nowhere, so it meets no rule.
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == packets.size() - 1);
  require_ok(firewall.set_policy(guest.port, egress));
  check_all("egress", [](const Packet& packet) { return packet.egress; });
  require_ok(firewall.set_policy(guest.port, full_but));
  check_all("full", [](const Packet& packet) { return packet.full; });
  require_ok(firewall.set_policy(guest.port, {}));
  check_all("none again", [](const Packet&) { return false; });
  // Without rules the host sends all of it out, but for what it sends nowhere.
  require_ok(firewall.remove());
  for (const Packet& packet : packets) {
    if (std::string_view(packet.name) == "multicast") continue;
    CAPTURE(packet.name);
    const std::string bytes = "bare " + std::string(packet.name);
    guest.send(frame_of(bench, guest, packet, bytes));
    CHECK(bench.outside().sees(bytes, kSoon));
  }
}

}  // namespace lambdo::net
