#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/syscalls.h"
#include "bench.h"
#include "fixture.h"
#include "frames.h"
#include "net/addresses.h"
#include "net/firewall.h"
#include "net/ruleset.h"
#include "test.h"

namespace lambdo::net {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSoon{2000};
/// A dropped frame is dropped when it has been sent, mostly; longer only makes a mistake more likely to show.
constexpr milliseconds kNever{30};
constexpr const char* kWorld = "203.0.113.2";

FirewallSettings settings_of(const Bench& bench) {
  return {.bridge = Bench::kBridge,
          .port_prefix = Bench::kPrefix,
          .gateway = bench.gateway(),
          .agent_port = Bench::kAgentPort,
          .limits = {.max_connections = 8}};
}

Policy full() {
  return {.access = Policy::Access::full};
}

std::string table_of(Nftables& nftables, const std::string& family) {
  return value_of(nftables.run("list table " + family + " " + table_name(Bench::kBridge) + "\n", "list"));
}

/// A UDP socket outside, and what it needs to answer.
class WorldSocket {
 public:
  WorldSocket(Bench& bench, uint16_t port) {
    bench.outside_space().inside([&] { capture_ = Capture::of_udp_port(port); });
  }
  /// Waits for a datagram and answers it.
  sockaddr_in answer(std::string_view bytes) const {
    sockaddr_in peer{};
    socklen_t len_bytes = sizeof peer;
    char buffer[512];
    const long long deadline_ns = sys::monotonic_ns() + 2'000'000'000;
    ssize_t count = -1;
    while (count < 0 && sys::monotonic_ns() < deadline_ns) {
      count = ::recvfrom(capture_.fd().get(), buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&peer),
                         &len_bytes);
    }
    REQUIRE(count > 0);
    send(peer, bytes);
    return peer;
  }
  void send(sockaddr_in peer, std::string_view bytes) const {
    REQUIRE(::sendto(capture_.fd().get(), bytes.data(), bytes.size(), 0,
                     reinterpret_cast<const sockaddr*>(&peer), sizeof peer) > 0);
  }

 private:
  Capture capture_{Fd()};
};

sockaddr_in address_of(Ipv4Address address, uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  result.sin_addr.s_addr = htonl(address.value);
  return result;
}

}  // namespace

TEST_CASE("a guest gets answers, by the host's address, until it is gone") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest({guest.port, guest.lease, full()}));
  const WorldSocket world(bench, 9999);
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "question"));
  const sockaddr_in peer = world.answer("answer");
  CHECK(peer.sin_addr.s_addr == htonl(ip("203.0.113.1").value));
  CHECK(guest.tap.sees("answer", kSoon));
  const TrafficCounters counters = value_of(firewall.counters(guest.port));
  CHECK(counters.sent_packets == 1);
  CHECK(counters.sent_bytes == 20 + 8 + std::string_view("question").size());
  CHECK(counters.received_packets == 1);
  // The connection is known to the host still; its guest's right to it is not.
  require_ok(firewall.remove_guest(guest.port));
  world.send(peer, "late answer");
  bench.outside().clear();
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "late question"));
  CHECK_FALSE(guest.tap.sees("late answer", kNever));
  CHECK_FALSE(bench.outside().sees("late question", kNever));
  // The same guest once more: it can again.
  require_ok(firewall.add_guest({guest.port, guest.lease, full()}));
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "question"));
  CHECK(bench.outside().sees("question", kSoon));
}

TEST_CASE("an established connection ends with the right to it") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest({guest.port, guest.lease, full()}));
  const WorldSocket world(bench, 9999);
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "question"));
  world.answer("answer");
  REQUIRE(guest.tap.sees("answer", kSoon));
  require_ok(firewall.set_policy(guest.port, {}));
  bench.outside().clear();
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "more"));
  CHECK_FALSE(bench.outside().sees("more", kNever));
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 1);
}

TEST_CASE("nobody outside can connect to a guest, the host can") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest({guest.port, guest.lease, full()}));
  bench.outside_space().inside([&] {
    NetlinkSocket there = value_of(NetlinkSocket::open());
    const Link world = value_of(find_link(there, "world"));
    require_ok(set_neighbour(there, world, ip("203.0.113.1"), mac_of("uplink")));
    require_ok(
        add_route(there, {value_of(Ipv4Subnet::parse("192.168.10.0/24")), ip("203.0.113.1"), world.index}));
  });
  const WorldSocket world(bench, 9999);
  world.send(address_of(guest.lease.address, 1234), "intruder");
  CHECK_FALSE(guest.tap.sees("intruder", kNever));
  const Capture host = Capture::of_udp_port(7777);
  const sockaddr_in to_guest = address_of(guest.lease.address, 1234);
  REQUIRE(::sendto(host.fd().get(), "host", 4, 0, reinterpret_cast<const sockaddr*>(&to_guest),
                   sizeof to_guest) == 4);
  CHECK(guest.tap.sees("host", kSoon));
  Flow answer = bench.flow(guest, "192.168.10.1", 7777);
  answer.from_port = 1234;
  guest.send(udp_frame(answer, "guest's answer"));
  Capture at_host = Capture(value_of(sys::dup(host.fd().get())));
  CHECK(at_host.sees("guest's answer", kSoon));
  require_ok(firewall.remove());
  world.send(address_of(guest.lease.address, 1235), "intruder");
  CHECK(guest.tap.sees("intruder", kSoon));
}

TEST_CASE("a guest cannot tell the host that a connection of the host's failed") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest({guest.port, guest.lease, full()}));
  // Somebody is there, so that the world does not say the same.
  const WorldSocket world(bench, 9999);
  const Capture host = Capture::of_udp_port(32000);
  const sockaddr_in peer = address_of(ip(kWorld), 9999);
  REQUIRE(::connect(host.fd().get(), reinterpret_cast<const sockaddr*>(&peer), sizeof peer) == 0);
  REQUIRE(::send(host.fd().get(), "asks", 4, 0) == 4);
  // As a router between the two would say it, of what the host has sent.
  Flow sent = Bench::flow_back(kWorld, 9999, 32000);
  std::swap(sent.from, sent.to);
  std::swap(sent.from_port, sent.to_port);
  const auto errors_of_host = [&] {
    guest.send(unreachable_frame(bench.flow(guest, "203.0.113.1", 0), udp_frame(sent, "asks")));
    int error = 0;
    socklen_t len_bytes = sizeof error;
    REQUIRE(::getsockopt(host.fd().get(), SOL_SOCKET, SO_ERROR, &error, &len_bytes) == 0);
    return error;
  };
  CHECK(errors_of_host() == 0);
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 1);
  require_ok(firewall.remove());
  CHECK(errors_of_host() == ECONNREFUSED);
}

TEST_CASE("a guest has as many connections as it may, and no more") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  const TestGuest other = bench.add_guest(2);
  for (const TestGuest* each : {&guest, &other})
    require_ok(firewall.add_guest({each->port, each->lease, full()}));
  for (int i = 0; i < 20; ++i) {
    Flow flow = bench.flow(guest, kWorld, 9999);
    flow.from_port = static_cast<uint16_t>(30000 + i);
    guest.send(udp_frame(flow, "connection " + std::to_string(100 + i)));
  }
  CHECK(bench.outside().sees("connection 107", kSoon));
  other.send(udp_frame(bench.flow(other, kWorld, 9999), "another's"));
  CHECK(bench.outside().sees_without("connection", "another's", kSoon));
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 12);
}

TEST_CASE("a port is closed until its guest is added") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  Capture at_host = Capture::of_interface(Bench::kBridge);
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "early"));
  CHECK_FALSE(at_host.sees("early", kNever));
  require_ok(firewall.add_guest({guest.port, guest.lease, {}}));
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "later"));
  CHECK(at_host.sees("later", kSoon));
}

TEST_CASE("a port that the host gave away by DNAT is no way to what is the host's own") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest({guest.port, guest.lease, full()}));
  Nftables nftables = value_of(Nftables::open());
  static_cast<void>(value_of(
      nftables.run("add table ip other\nadd chain ip other c { type nat hook prerouting priority dstnat; }\n"
                   "add rule ip other c ip daddr 203.0.113.1 udp dport 8080 dnat to 203.0.113.2:80\n",
                   "published port")));
  guest.send(udp_frame(bench.flow(guest, "203.0.113.1", 8080), "published"));
  guest.send(udp_frame(bench.flow(guest, kWorld, 9), "end"));
  CHECK(bench.outside().sees_without("published", "end", kSoon));
  require_ok(firewall.remove());
  Flow again = bench.flow(guest, "203.0.113.1", 8080);
  again.from_port = 40001;
  guest.send(udp_frame(again, "published"));
  CHECK(bench.outside().sees("published", kSoon));
}

TEST_CASE("on a bridge of the operator's own, others than guests are left alone") {
  if (!network_usable()) return;
  Bench bench;
  FirewallSettings settings = settings_of(bench);
  settings.guests_only = false;
  Firewall firewall = value_of(Firewall::install(settings));
  const TestGuest guest = bench.add_guest(1);
  require_ok(firewall.add_guest({guest.port, guest.lease, {}}));
  // By its name this is no guest's port.
  const Link other = value_of(create_veth(bench.socket(), {"operator", mac_of("operator")},
                                          {"machine", mac_of("machine")}, bench.outside_space().handle()));
  require_ok(set_master(bench.socket(), other, bench.bridge().index));
  require_ok(set_up(bench.socket(), other, true));
  Capture service = Capture::of_udp_port(9999);
  bench.outside_space().inside([&] {
    NetlinkSocket there = value_of(NetlinkSocket::open());
    const Link machine = value_of(find_link(there, "machine"));
    require_ok(set_up(there, machine, true));
    require_ok(wait_until_running(there, machine, 5000));
    require_ok(add_address(there, machine, value_of(Ipv4Subnet::parse("192.168.10.200/24"))));
    require_ok(set_neighbour(there, machine, bench.gateway(), bench.bridge().mac));
  });
  require_ok(wait_until_running(bench.socket(), other, 5000));
  const WorldSocket machine(bench, 1);
  machine.send(address_of(bench.gateway(), 9999), "operator's");
  CHECK(service.sees("operator's", kSoon));
  guest.send(udp_frame(bench.flow(guest, "192.168.10.1", 9999), "guest's"));
  CHECK_FALSE(service.sees("guest's", kNever));
}

TEST_CASE("guests come and go without a trace, and policies are shared") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = value_of(Firewall::install(settings_of(bench)));
  Nftables nftables = value_of(Nftables::open());
  const std::string bridge_before = table_of(nftables, "bridge");
  const auto guest_of = [](int number, Policy policy) {
    return Firewall::Guest{
        Bench::kPrefix + std::to_string(number),
        {Ipv4Address{0xc0a80a00 + static_cast<uint32_t>(number)}, mac_of(std::to_string(number))},
        std::move(policy)};
  };
  for (int i = 2; i < 102; ++i) {
    Policy policy = full();
    // Every second one has a policy of its own.
    if (i % 2 == 0) policy.denied.push_back(Ipv4Subnet{{static_cast<uint32_t>(i) << 24}, 8});
    require_ok(firewall.add_guest(guest_of(i, policy)));
  }
  CHECK(firewall.policies() == 51);
  CHECK(firewall.add_guest(guest_of(2, {})).error().code == Code::internal);
  for (int i = 2; i < 102; ++i) require_ok(firewall.remove_guest(Bench::kPrefix + std::to_string(i)));
  CHECK(firewall.policies() == Firewall::kMaxIdlePolicies);
  CHECK(table_of(nftables, "bridge") == bridge_before);
  const std::string inet = table_of(nftables, "inet");
  CHECK_FALSE(inet.contains("elements = { 192.168"));
  size_t chains = 0;
  for (size_t at = 0; (at = inet.find("chain policy_", at)) != std::string::npos; ++at) ++chains;
  CHECK(chains == Firewall::kMaxIdlePolicies);
  require_ok(firewall.remove());
  CHECK(nftables.run("list table inet " + table_name(Bench::kBridge) + "\n", "list").error().code ==
        Code::not_found);
}

TEST_CASE("rules that an earlier server left are replaced, and others' are left alone") {
  if (!network_usable()) return;
  Bench bench;
  Nftables nftables = value_of(Nftables::open());
  static_cast<void>(
      value_of(nftables.run("add table inet other\nadd chain inet other c\n", "another's table")));
  Firewall first = value_of(Firewall::install(settings_of(bench)));
  const TestGuest guest = bench.add_guest(1);
  require_ok(first.add_guest({guest.port, guest.lease, full()}));
  Firewall second = value_of(Firewall::install(settings_of(bench)));
  Capture at_host = Capture::of_interface(Bench::kBridge);
  guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "left over"));
  CHECK_FALSE(at_host.sees("left over", kNever));
  require_ok(second.remove());
  CHECK(value_of(nftables.run("list ruleset\n", "list")) == "table inet other {\n\tchain c {\n\t}\n}\n");
}

TEST_CASE("what the server denies is denied whatever a policy says, and what is somebody's own by one word") {
  if (!network_usable()) return;
  Bench bench;
  FirewallSettings settings = settings_of(bench);
  // Networks within each other too.
  settings.denied = {value_of(Ipv4Subnet::parse("203.0.113.2/31")),
                     value_of(Ipv4Subnet::parse("203.0.113.0/24"))};
  const Policy::Destination anywhere{.to = Ipv4Subnet{{}, 0}};
  const struct {
    bool denied;
    Policy policy;
    bool arrives;
  } cases[] = {
      {true, full(), false},
      {false, full(), true},
      {false, {.access = Policy::Access::egress, .allowed = {anywhere}}, true},
      {false, {.access = Policy::Access::egress, .public_only = true, .allowed = {anywhere}}, false}};
  for (const auto& [denied, policy, arrives] : cases) {
    CAPTURE(denied);
    CAPTURE(policy.public_only);
    Firewall firewall = value_of(Firewall::install(denied ? settings : settings_of(bench)));
    TestGuest guest = bench.add_guest(1);
    require_ok(firewall.add_guest({guest.port, guest.lease, policy}));
    bench.outside().clear();
    guest.send(udp_frame(bench.flow(guest, kWorld, 9999), "question"));
    CHECK(bench.outside().sees("question", arrives ? kSoon : kNever) == arrives);
    require_ok(firewall.remove());
  }
}

TEST_CASE("a guest that sends more than its rate loses the rest, and others do not") {
  if (!network_usable()) return;
  Bench bench;
  for (const bool by_bytes : {true, false}) {
    CAPTURE(by_bytes);
    FirewallSettings settings = settings_of(bench);
    (by_bytes ? settings.limits.mbit_per_s : settings.limits.packets_per_s) = 1;
    Firewall firewall = value_of(Firewall::install(settings));
    TestGuest flood = bench.add_guest(by_bytes ? 1 : 3);
    TestGuest quiet = bench.add_guest(by_bytes ? 2 : 4);
    require_ok(firewall.add_guest({flood.port, flood.lease, full()}));
    require_ok(firewall.add_guest({quiet.port, quiet.lease, full()}));
    // A burst is 256 KiB or 64 packets.
    constexpr uint64_t kSent = 600;
    const std::string frame = udp_frame(bench.flow(flood, kWorld, 9999), std::string(1400, 'x'));
    for (uint64_t i = 0; i < kSent; ++i) flood.send(frame);
    const uint64_t passed = value_of(firewall.counters(flood.port)).sent_packets;
    CHECK(passed >= (by_bytes ? 150 : 60));
    CHECK(passed <= (by_bytes ? 300 : 100));
    bench.outside().clear();
    quiet.send(udp_frame(bench.flow(quiet, kWorld, 9999), "question"));
    CHECK(bench.outside().sees("question", kSoon));
    require_ok(firewall.remove());
  }
}

TEST_CASE("a limit of 0 is none, and takes no rule") {
  FirewallSettings settings{.bridge = "lambdo0", .port_prefix = "lb0-", .gateway = ip("192.168.10.1")};
  CHECK(base_ruleset(settings).contains("limit rate over 50000/second"));
  CHECK_FALSE(base_ruleset(settings).contains("bytes/second"));
  settings.limits.packets_per_s = 0;
  CHECK_FALSE(base_ruleset(settings).contains("limit rate over"));
}

TEST_CASE("a policy that makes no sense is refused by name") {
  const auto message = [](const Policy::Destination& destination) {
    const auto checked = check_policy({.access = Policy::Access::egress, .allowed = {destination}});
    return checked ? "" : checked.error().message;
  };
  const Ipv4Subnet anywhere{{}, 0};
  CHECK(message({anywhere, Policy::Protocol::tcp, 2, 1}) == "ports 2 to 1 are in the wrong order");
  CHECK(message({anywhere, Policy::Protocol::any, 1, 2}) == "ports of 0.0.0.0/0 need a protocol, tcp or udp");
  CHECK(message({anywhere, Policy::Protocol::udp, 1, 2}).empty());
  Policy many;
  many.denied.resize(Policy::kMaxDenied + 1);
  CHECK_FALSE(check_policy(many));
}

}  // namespace lambdo::net
