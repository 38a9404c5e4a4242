#include <string>
#include <vector>

#include "base/syscalls.h"
#include "bench.h"
#include "fixture.h"
#include "frames.h"
#include "net/addresses.h"
#include "net/firewall.h"
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

  /// From outside, port 9999, to the address of the host's uplink.
  static Ipv6Flow flow_back(const char* from, uint16_t to_port) {
    return {.from_mac = mac_of("world"),
            .to_mac = mac_of("uplink"),
            .from = ip6(from),
            .to = ip6("2001:db8::1"),
            .from_port = 9999,
            .to_port = to_port};
  }
};

Firewall install(const Bench& bench) {
  return value_of(Firewall::install({.bridge = Bench::kBridge,
                                     .port_prefix = Bench::kPrefix,
                                     .gateway = bench.gateway(),
                                     .ipv6 = true,
                                     .resolvers = {ip6("fd00:ec2::253")},
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
  for (const char* to : {"::505:505",     "::ffff:5.5.5.5",    "64:ff9b::505:505",  "64:ff9b:1::505:505",
                         "2001::1",       "2002:505:505::1",   "fe80::1",           "fd00:ec2::254",
                         "fd00:ec2::253", "fd00:ec2:1::1",     "fd20:ce::254",      "fd00:c1::a9fe:a9fe",
                         "fd00:42::42",   "fd00:a9fe:a9fe::1", "fd00:100::100:200", "2400:1::1",
                         "fd00:1::1",     "2001:db8::1",       "fd00:1::c0a8:a03",  "fd00:1::c0a8:a77"}) {
    CAPTURE(to);
    guest.send(udp6_frame(with.flow(guest, to), "refused"));
  }
  CHECK_FALSE(with.bench.outside().sees("refused", kNever));
  CHECK_FALSE(other.tap.sees("refused"));
  for (const char* to : {"2400:2::1", "fd20:ce::255", "fd00:ec3::254"}) {
    CAPTURE(to);
    guest.send(udp6_frame(with.flow(guest, to), "allowed"));
    CHECK(with.bench.outside().sees("allowed", kSoon));
  }
  // AWS's resolver is one, where it is configured.
  Ipv6Flow question = with.flow(guest, "fd00:ec2::253");
  question.to_port = 53;
  guest.send(udp6_frame(question, "a name"));
  CHECK(with.bench.outside().sees("a name", kSoon));
}

TEST_CASE("of the host a guest reaches nothing over IPv6") {
  if (!network_usable()) return;
  Ipv6Bench with;
  Firewall firewall = install(with.bench);
  TestGuest guest = with.add_guest(firewall, 1);
  Capture service = Capture::of_udp6_port(9999);
  const auto datagram_arrives = [&](const char* to, bool expected) {
    const std::string bytes = std::string("datagram to ") + to;
    guest.send(udp6_frame(with.flow(guest, to), bytes));
    return service.sees(bytes, expected ? kSoon : kNever);
  };
  const auto ping_is_answered = [&](bool expected) {
    guest.tap.clear();
    guest.send(
        icmpv6_frame(with.flow(guest, "fd00:1::1"), std::string{static_cast<char>(128), 0, 0, 0} + "ping"));
    return guest.tap.sees("ping", expected ? kSoon : kNever);
  };
  CHECK_FALSE(datagram_arrives("fd00:1::1", false));
  CHECK_FALSE(datagram_arrives("2001:db8::1", false));
  CHECK_FALSE(ping_is_answered(false));
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 3);
  require_ok(firewall.remove());
  CHECK(datagram_arrives("fd00:1::1", true));
  CHECK(datagram_arrives("2001:db8::1", true));
  CHECK(ping_is_answered(true));
}

TEST_CASE("connections of both families have one limit") {
  if (!network_usable()) return;
  Ipv6Bench with;
  Firewall firewall = install(with.bench);
  const TestGuest guest = with.add_guest(firewall, 1);
  const auto connect = [&](uint16_t i) {
    const std::string bytes = "connection " + std::to_string(i);
    const auto from_port = static_cast<uint16_t>(40000 + i);
    Ipv6Flow flow = with.flow(guest, "2400:2::1");
    Flow ipv4_flow = with.bench.flow(guest, "203.0.113.2", 9999);
    flow.from_port = ipv4_flow.from_port = from_port;
    guest.send(i % 2 == 0 ? udp6_frame(flow, bytes) : udp_frame(ipv4_flow, bytes));
  };
  for (uint16_t i = 0; i < 10; ++i) connect(i);
  CHECK(with.bench.outside().sees("connection 7", kSoon));
  CHECK_FALSE(with.bench.outside().sees("connection", kNever));
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 2);
  require_ok(firewall.remove_guest(guest.port));
  require_ok(firewall.add_guest({guest.port, guest.lease, {.access = Policy::Access::full}}));
  connect(10);
  connect(11);
  CHECK(with.bench.outside().sees("connection 10", kSoon));
  CHECK(with.bench.outside().sees("connection 11", kSoon));
}

TEST_CASE("what the world sends to the last guest with an IPv6 address does not reach the next") {
  if (!network_usable()) return;
  for (const bool killed : {false, true}) {
    CAPTURE(killed);
    Ipv6Bench with;
    Firewall firewall = install(with.bench);
    TestGuest guest = with.add_guest(firewall, 1);
    TestGuest other = with.add_guest(firewall, 2);
    const auto asks = [&](const TestGuest& asking, uint16_t port) {
      Ipv6Flow flow = with.flow(asking, "2400:2::1");
      flow.from_port = port;
      asking.send(udp6_frame(flow, "question"));
      return with.bench.outside().sees("question", kSoon);
    };
    const auto is_answered = [&](TestGuest& asking, uint16_t port, bool expected = true) {
      with.bench.send_from_outside(udp6_frame(Ipv6Bench::flow_back("2400:2::1", port), "answer"));
      return asking.tap.sees("answer", expected ? kSoon : kNever);
    };
    CHECK(asks(guest, 30000));
    CHECK(is_answered(guest, 30000));
    const std::vector<TestGuest*> next = killed ? std::vector{&guest, &other} : std::vector{&guest};
    if (killed) firewall = install(with.bench);
    if (!killed) require_ok(firewall.remove_guest(guest.port));
    for (const TestGuest* each : next) {
      require_ok(firewall.add_guest({each->port, each->lease, {.access = Policy::Access::full}}));
    }
    CHECK_FALSE(is_answered(guest, 30000, false));
    CHECK(asks(other, 30001));
    CHECK(is_answered(other, 30001));
    // Forgotten, its ports are the world's own.
    const uint16_t own_port = killed ? 30000 : 30002;
    CHECK(asks(guest, own_port));
    CHECK(is_answered(guest, own_port));
    // Of another's connection a guest says nothing to the world.
    const auto complains = [&](const TestGuest& about, uint16_t port, bool expected) {
      Ipv6Flow back = Ipv6Bench::flow_back("2400:2::1", port);
      back.to = *about.lease.ipv6;
      guest.send(unreachable6_frame(with.flow(guest, "2400:2::1"), udp6_frame(back, "quoted")));
      return with.bench.outside().sees("quoted", expected ? kSoon : kNever);
    };
    CHECK_FALSE(complains(other, 30001, false));
    CHECK(complains(guest, own_port, true));
    CHECK(is_answered(other, 30001));
    require_ok(firewall.remove());
    CHECK(complains(other, 30001, true));
  }
}

}  // namespace lambdo::net
