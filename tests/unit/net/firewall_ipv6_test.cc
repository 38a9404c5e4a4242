#include <string>

#include "base/syscalls.h"
#include "bench.h"
#include "fixture.h"
#include "frames.h"
#include "net/firewall.h"
#include "net/ip.h"
#include "test.h"

namespace lambdo::net {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSoon{2000};
constexpr milliseconds kNever{30};

Ipv6Address ip6(std::string_view text) {
  return value_of(Ipv6Address::parse(text));
}

void give_address(NetlinkSocket& socket, const Link& link, const char* address) {
  require_ok(enable_static_ipv6(socket, link));
  require_ok(add_address(socket, link, value_of(Ipv6Subnet::parse(address))));
}

/// The bench with IPv6: what leaves the host is seen outside.
struct Ipv6Bench {
  Bench bench;

  Ipv6Bench() {
    const Link uplink = value_of(find_link(bench.socket(), "uplink"));
    give_address(bench.socket(), bench.bridge(), "fd00:1::1/64");
    give_address(bench.socket(), uplink, "2001:db8::1/64");
    require_ok(set_neighbour(bench.socket(), uplink, ip6("2001:db8::2"), mac_of("world")));
    require_ok(add_route(bench.socket(), {Ipv6Subnet{{}, 0}, ip6("2001:db8::2"), uplink.index}));
    require_ok(sys::write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1"));
  }

  TestGuest add_guest(Firewall& firewall, int number) {
    TestGuest guest = bench.add_guest(number, false);
    guest.lease.ipv6 = address_in(value_of(Ipv6Subnet::parse("fd00:1::1/64")), guest.lease.address);
    require_ok(set_neighbour(bench.socket(), bench.bridge(), *guest.lease.ipv6, guest.lease.mac));
    require_ok(firewall.add_guest({guest.port, guest.lease, {.access = Policy::Access::full}}));
    return guest;
  }

  [[nodiscard]] Ipv6Flow flow(const TestGuest& guest, const char* to) const {
    return {
        .from_mac = guest.lease.mac, .to_mac = bench.bridge().mac, .from = *guest.lease.ipv6, .to = ip6(to)};
  }
};

Firewall install(const Bench& bench) {
  return value_of(Firewall::install({.bridge = Bench::kBridge,
                                     .port_prefix = Bench::kPrefix,
                                     .gateway = bench.gateway(),
                                     .ipv6 = true,
                                     .denied = {value_of(IpSubnet::parse("2400:1::/32"))},
                                     .limits = {.max_connections = 8}}));
}

}  // namespace

TEST_CASE("a guest's IPv6 leaves by the host's address, with its own source and port only") {
  if (!network_usable()) return;
  Ipv6Bench with;
  Firewall firewall = install(with.bench);
  const TestGuest guest = with.add_guest(firewall, 1);
  const TestGuest other = with.add_guest(firewall, 2);
  const Ipv6Flow own = with.flow(guest, "2400:2::1");
  Ipv6Flow others_address = own;
  others_address.from = *other.lease.ipv6;
  Ipv6Flow nobodys_address = own;
  nobodys_address.from = ip6("fd00:1::c0a8:aff");
  Ipv6Flow outside_address = own;
  outside_address.from = ip6("2001:db8::2");
  Ipv6Flow same_end = own;
  same_end.from = ip6("fd00:2::c0a8:a02");
  Ipv6Flow others_mac = own;
  others_mac.from_mac = other.lease.mac;
  Ipv6Flow to_all = own;
  to_all.to_mac = kBroadcastMac;
  for (const Ipv6Flow& spoofed :
       {others_address, nobodys_address, outside_address, same_end, others_mac, to_all}) {
    guest.send(udp6_frame(spoofed, "spoofed"));
  }
  guest.send(tagged(udp6_frame(own, "spoofed"), 1));
  CHECK_FALSE(with.bench.outside().sees("spoofed", kNever));
  CHECK(value_of(firewall.counters(guest.port)).spoofed_packets == 7);
  CHECK(value_of(firewall.counters(guest.port)).sent_packets == 0);
  guest.send(udp6_frame(own, "honest"));
  CHECK(with.bench.outside().sees("honest", kSoon));
  CHECK(value_of(firewall.counters(guest.port)).sent_packets == 1);
  other.send(udp6_frame(with.flow(other, "2400:2::1"), "honest too"));
  CHECK(with.bench.outside().sees("honest too", kSoon));
  require_ok(firewall.remove_guest(guest.port));
  guest.send(udp6_frame(own, "late"));
  CHECK_FALSE(with.bench.outside().sees("late", kNever));
}

TEST_CASE("nothing that links and routers say to each other passes a port") {
  if (!network_usable()) return;
  Ipv6Bench with;
  Firewall firewall = install(with.bench);
  TestGuest guest = with.add_guest(firewall, 1);
  TestGuest other = with.add_guest(firewall, 2);
  const Ipv6Flow outside = with.flow(guest, "2400:2::1");
  const auto message = [](int type) {
    return std::string{static_cast<char>(type), '\0', '\0', '\0'} + "link talk";
  };
  uint64_t sent = 0;
  for (const int type : {130, 131, 132, 133, 134, 135, 136, 137, 141, 142, 143, 148, 151}) {
    CAPTURE(type);
    guest.send(icmpv6_frame(outside, message(type)));
    guest.send(icmpv6_frame(with.flow(guest, "fd00:1::1"), message(type)));
    Ipv6Flow to_all = with.flow(guest, "ff02::1");
    to_all.to_mac = MacAddress{{0x33, 0x33, 0, 0, 0, 1}};
    guest.send(icmpv6_frame(to_all, message(type)));
    sent += 3;
  }
  CHECK_FALSE(with.bench.outside().sees("link talk", kNever));
  CHECK_FALSE(other.tap.sees("link talk"));
  CHECK(value_of(firewall.counters(guest.port)).spoofed_packets == sent);
  // An echo request is none of these.
  guest.send(icmpv6_frame(outside, message(128)));
  CHECK(with.bench.outside().sees("link talk", kSoon));
}

TEST_CASE("what no guest reaches of IPv6 it does not reach with full access either") {
  if (!network_usable()) return;
  Ipv6Bench with;
  Firewall firewall = install(with.bench);
  const TestGuest guest = with.add_guest(firewall, 1);
  TestGuest other = with.add_guest(firewall, 2);
  for (const char* to : {"::505:505", "::ffff:5.5.5.5", "64:ff9b::505:505", "64:ff9b:1::505:505", "2001::1",
                         "2002:505:505::1", "fe80::1", "fd00:ec2::254", "2400:1::1", "fd00:1::1",
                         "2001:db8::1", "fd00:1::c0a8:a03", "fd00:1::c0a8:a77"}) {
    CAPTURE(to);
    guest.send(udp6_frame(with.flow(guest, to), "refused"));
  }
  CHECK_FALSE(with.bench.outside().sees("refused", kNever));
  CHECK_FALSE(other.tap.sees("refused"));
  guest.send(udp6_frame(with.flow(guest, "2400:2::1"), "allowed"));
  CHECK(with.bench.outside().sees("allowed", kSoon));
}

TEST_CASE("connections of IPv6 have their limit") {
  if (!network_usable()) return;
  Ipv6Bench with;
  Firewall firewall = install(with.bench);
  const TestGuest guest = with.add_guest(firewall, 1);
  for (uint16_t i = 0; i < 9; ++i) {
    Ipv6Flow flow = with.flow(guest, "2400:2::1");
    flow.from_port = static_cast<uint16_t>(40000 + i);
    guest.send(udp6_frame(flow, "connection " + std::to_string(i)));
  }
  CHECK(with.bench.outside().sees("connection 7", kSoon));
  CHECK_FALSE(with.bench.outside().sees("connection 8", kNever));
}

}  // namespace lambdo::net
