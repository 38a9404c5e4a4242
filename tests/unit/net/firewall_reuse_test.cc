#include <string>

#include "base/syscalls.h"
#include "bench.h"
#include "fixture.h"
#include "frames.h"
#include "net/firewall.h"
#include "test.h"

/// Guests that have the address of one that is gone, whose connections the kernel or the world still knows.
namespace lambdo::net {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSoon{2000};
constexpr milliseconds kNever{30};
constexpr const char* kWorld = "203.0.113.2";
constexpr uint16_t kWorldPort = 9999;
constexpr int kMaxConnections = 8;

Firewall install(const Bench& bench) {
  return value_of(Firewall::install({.bridge = Bench::kBridge,
                                     .port_prefix = Bench::kPrefix,
                                     .gateway = bench.gateway(),
                                     .agent_port = Bench::kAgentPort,
                                     .limits = {.max_connections = kMaxConnections}}));
}

void add(Firewall& firewall, const TestGuest& guest) {
  require_ok(firewall.add_guest({guest.port, guest.lease, {.access = Policy::Access::full}}));
}

/// How the guest ends: its server takes it off, or is killed with its helper, and the next one starts.
enum class End { removed, killed };

void next_guest(const Bench& bench, Firewall& firewall, const TestGuest& guest, End end) {
  if (end == End::removed) require_ok(firewall.remove_guest(guest.port));
  if (end == End::killed) firewall = install(bench);
  add(firewall, guest);
}

int connections_known() {
  return std::stoi(value_of(sys::read_file("/proc/sys/net/netfilter/nf_conntrack_count")));
}

/// The guest sends a datagram to the world. Whether it arrives there.
bool asks(Bench& bench, const TestGuest& guest, uint16_t from_port, bool expected = true) {
  const std::string question = "question from " + std::to_string(from_port);
  Flow flow = bench.flow(guest, kWorld, kWorldPort);
  flow.from_port = from_port;
  guest.send(udp_frame(flow, question));
  return bench.outside().sees(question, expected ? kSoon : kNever);
}

/// The world sends one to the other end of what came from that port. Whether it arrives at the guest.
bool is_answered(const Bench& bench, TestGuest& guest, uint16_t port, bool expected = true) {
  bench.send_from_outside(udp_frame(Bench::flow_back(kWorld, kWorldPort, port), "answer"));
  return guest.tap.sees("answer", expected ? kSoon : kNever);
}

}  // namespace

TEST_CASE("connections of the last guest with an address do not count for the next") {
  if (!network_usable()) return;
  for (const End end : {End::removed, End::killed}) {
    CAPTURE(static_cast<int>(end));
    Bench bench;
    Firewall firewall = install(bench);
    const TestGuest guest = bench.add_guest(1);
    add(firewall, guest);
    for (int i = 0; i < kMaxConnections; ++i) {
      CHECK(asks(bench, guest, static_cast<uint16_t>(30000 + i)));
    }
    CHECK_FALSE(asks(bench, guest, 31000, false));
    next_guest(bench, firewall, guest, end);
    CHECK(connections_known() == (end == End::removed ? 0 : kMaxConnections));
    for (int i = 0; i < kMaxConnections; ++i) {
      CHECK(asks(bench, guest, static_cast<uint16_t>(32000 + i)));
    }
    CHECK_FALSE(asks(bench, guest, 33000, false));
  }
}

TEST_CASE("what the world sends to the last guest with an address does not reach the next") {
  if (!network_usable()) return;
  for (const End end : {End::removed, End::killed}) {
    CAPTURE(static_cast<int>(end));
    Bench bench;
    Firewall firewall = install(bench);
    TestGuest guest = bench.add_guest(1);
    TestGuest other = bench.add_guest(2);
    add(firewall, guest);
    if (end == End::removed) add(firewall, other);
    CHECK(asks(bench, guest, 30000));
    CHECK(is_answered(bench, guest, 30000));
    next_guest(bench, firewall, guest, end);
    if (end == End::killed) add(firewall, other);
    CHECK_FALSE(is_answered(bench, guest, 30000, false));
    CHECK(asks(bench, other, 30001));
    CHECK(is_answered(bench, other, 30001));
    // What it opens itself is its own: be it with the same ports, which are the world's again once forgotten.
    const uint16_t own = end == End::killed ? 30000 : 30002;
    CHECK(asks(bench, guest, own));
    CHECK(is_answered(bench, guest, own));
  }
}

TEST_CASE("nothing is known any more of the connections of guests that are gone, and others' stay") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = install(bench);
  const TestGuest guest = bench.add_guest(1);
  TestGuest other = bench.add_guest(2);
  add(firewall, guest);
  add(firewall, other);
  for (int i = 0; i < 4; ++i) CHECK(asks(bench, guest, static_cast<uint16_t>(30000 + i)));
  CHECK(asks(bench, other, 31000));
  // The host's own, which has no mark.
  bench.ask_outside(kWorldPort, 32000);
  CHECK(connections_known() == 6);
  require_ok(firewall.remove_guest(guest.port));
  CHECK(connections_known() == 2);
  CHECK(is_answered(bench, other, 31000));
}

TEST_CASE("an ICMP error of a guest is about its own connections only, and takes nobody's away") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = install(bench);
  const TestGuest guest = bench.add_guest(1);
  TestGuest other = bench.add_guest(2);
  add(firewall, guest);
  add(firewall, other);
  CHECK(asks(bench, guest, 30000));
  CHECK(asks(bench, other, 31000));
  CHECK(is_answered(bench, other, 31000));
  bench.ask_outside(kWorldPort, 32000);
  const auto complains = [&](Ipv4Address to, uint16_t port, bool expected) {
    const std::string words = "quoted of " + std::to_string(port);
    Flow back = Bench::flow_back(kWorld, kWorldPort, port);
    back.to = to;
    guest.send(unreachable_frame(bench.flow(guest, kWorld, 0), udp_frame(back, words)));
    return bench.outside().sees(words, expected ? kSoon : kNever);
  };
  CHECK(complains(guest.lease.address, 30000, true));
  CHECK_FALSE(complains(other.lease.address, 31000, false));
  CHECK_FALSE(complains(ip("203.0.113.1"), 32000, false));
  CHECK(is_answered(bench, other, 31000));
  CHECK(value_of(firewall.counters(guest.port)).refused_packets == 2);
  require_ok(firewall.remove());
  CHECK(complains(other.lease.address, 31000, true));
  CHECK(complains(ip("203.0.113.1"), 32000, true));
}

TEST_CASE("an agent's calls are rationed anew for the next guest with an address") {
  if (!network_usable()) return;
  Bench bench;
  Firewall firewall = install(bench);
  TestGuest guest = bench.add_guest(1);
  add(firewall, guest);
  // Nobody listens, so each call is answered by RST, and its connection is none any more.
  const auto answers = [&] {
    int count = 0;
    for (uint16_t port = 30000; port < 30030; ++port) {
      Flow flow = bench.flow(guest, "192.168.10.1", Bench::kAgentPort);
      flow.from_port = port;
      guest.tap.clear();
      guest.send(tcp_syn_frame(flow, ""));
      if (guest.tap.sees(std::string{static_cast<char>(port >> 8), static_cast<char>(port)}, kNever)) ++count;
    }
    return count;
  };
  const int first = answers();
  CHECK(first >= 15);
  CHECK(first < 30);
  next_guest(bench, firewall, guest, End::removed);
  CHECK(answers() >= 15);
}

}  // namespace lambdo::net
