#include "bench.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/syscalls.h"
#include "net/addresses.h"
#include "net/tap.h"
#include "test.h"

namespace lambdo::net {

namespace {

constexpr size_t kVirtioHeaderBytes = 12;

void bind_to(const Fd& socket, const void* address, socklen_t len_bytes) {
  REQUIRE(::bind(socket.get(), static_cast<const sockaddr*>(address), len_bytes) == 0);
}

void raise(NetlinkSocket& socket, const std::string& name, const char* address) {
  const Link link = value_of(find_link(socket, name));
  require_ok(disable_ipv6(socket, link));
  require_ok(set_up(socket, link, true));
  require_ok(add_address(socket, link, value_of(Ipv4Subnet::parse(address))));
}

}  // namespace

Ipv4Address ip(std::string_view text) {
  return value_of(Ipv4Address::parse(text));
}

Capture Capture::of_interface(const std::string& name) {
  NetlinkSocket netlink = value_of(NetlinkSocket::open());
  Fd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  REQUIRE(socket.valid());
  int on = 1;
  REQUIRE(::setsockopt(socket.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) == 0);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = value_of(find_link(netlink, name)).index;
  bind_to(socket, &address, sizeof address);
  return Capture(std::move(socket));
}

Capture Capture::of_udp_port(uint16_t port) {
  Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  bind_to(socket, &address, sizeof address);
  return Capture(std::move(socket));
}

Capture Capture::of_udp6_port(uint16_t port) {
  Fd socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  bind_to(socket, &address, sizeof address);
  return Capture(std::move(socket));
}

std::string Capture::next(long long deadline_ns) const {
  std::string buffer(4096, '\0');
  for (;;) {
    const ssize_t count = ::read(fd_.get(), buffer.data(), buffer.size());
    if (count > 0) return buffer.substr(0, static_cast<size_t>(count));
    const long long left_ms = (deadline_ns - sys::monotonic_ns()) / 1'000'000;
    if (left_ms <= 0) return "";
    pollfd readable{fd_.get(), POLLIN, 0};
    ::poll(&readable, 1, static_cast<int>(left_ms));
  }
}

static long long deadline_after(std::chrono::milliseconds limit) {
  return sys::monotonic_ns() + limit.count() * 1'000'000;
}

bool Capture::sees(std::string_view bytes, std::chrono::milliseconds limit) {
  const long long deadline_ns = deadline_after(limit);
  std::string frame = next(deadline_ns);
  while (!frame.empty() && !frame.contains(bytes)) frame = next(deadline_ns);
  return !frame.empty();
}

bool Capture::sees_without(std::string_view bytes, std::string_view end, std::chrono::milliseconds limit) {
  const long long deadline_ns = deadline_after(limit);
  bool without = true;
  for (;;) {
    const std::string frame = next(deadline_ns);
    if (frame.empty()) return false;
    if (frame.contains(bytes)) without = false;
    if (frame.contains(end)) return without;
  }
}

void Capture::clear() {
  while (!next(0).empty()) {
  }
}

void TestGuest::send(const std::string& frame) const {
  const std::string whole = std::string(kVirtioHeaderBytes, '\0') + frame;
  REQUIRE(::write(tap.fd().get(), whole.data(), whole.size()) == static_cast<ssize_t>(whole.size()));
}

Bench::Bench() {
  NetlinkSocket& netlink = space_.socket();
  bridge_ = value_of(create_bridge(netlink, kBridge, mac_of("bridge")));
  raise(netlink, kBridge, "192.168.10.1/24");
  static_cast<void>(value_of(
      create_veth(netlink, {"uplink", mac_of("uplink")}, {"world", mac_of("world")}, outside_.handle())));
  raise(netlink, "uplink", "203.0.113.1/24");
  outside_.inside([&] {
    NetlinkSocket there = value_of(NetlinkSocket::open());
    raise(there, "world", "203.0.113.2/24");
    outside_capture_ = std::make_unique<Capture>(Capture::of_interface("world"));
  });
  // Everything that is not here is there, and no ARP is in the way.
  const Link uplink = value_of(find_link(netlink, "uplink"));
  require_ok(wait_until_running(netlink, uplink, 5000));
  require_ok(set_neighbour(netlink, uplink, ip("203.0.113.2"), mac_of("world")));
  require_ok(add_route(netlink, {value_of(Ipv4Subnet::parse("0.0.0.0/0")), ip("203.0.113.2"), uplink.index}));
  require_ok(sys::write_file("/proc/sys/net/ipv4/ip_forward", "1"));
  for (const char* conf : {"all", kBridge}) {
    require_ok(sys::write_file("/proc/sys/net/ipv4/conf/" + std::string(conf) + "/rp_filter", "0"));
  }
}

TestGuest Bench::add_guest(int number, bool isolated) {
  TestGuest guest{.port = kPrefix + std::to_string(number),
                  .lease = {Ipv4Address{0xc0a80a00 + static_cast<uint32_t>(number) + 1},
                            mac_of("guest " + std::to_string(number)), std::nullopt},
                  .tap = Capture({})};
  guest.tap = Capture(value_of(create_tap({.name = guest.port})));
  const Link port = value_of(find_link(socket(), guest.port));
  require_ok(set_master(socket(), port, bridge_.index));
  PortFlags open;
  open.isolated = false;
  open.unicast_flood = open.multicast_flood = open.broadcast_flood = true;
  require_ok(set_port_flags(socket(), port, isolated ? PortFlags{} : open));
  require_ok(add_forwarding_entry(socket(), port, guest.lease.mac));
  require_ok(set_neighbour(socket(), bridge_, guest.lease.address, guest.lease.mac));
  require_ok(set_up(socket(), port, true));
  require_ok(wait_until_running(socket(), bridge_, 5000));
  return guest;
}

Flow Bench::flow(const TestGuest& from, const char* to, uint16_t port) const {
  return {.from_mac = from.lease.mac,
          .to_mac = bridge_.mac,
          .from = from.lease.address,
          .to = ip(to),
          .to_port = port};
}

Flow Bench::flow_back(const char* from, uint16_t from_port, uint16_t to_port) {
  return {.from_mac = mac_of("world"),
          .to_mac = mac_of("uplink"),
          .from = ip(from),
          .to = ip("203.0.113.1"),
          .from_port = from_port,
          .to_port = to_port};
}

void Bench::ask_outside(uint16_t port, uint16_t from_port) {
  const Capture from = Capture::of_udp_port(from_port);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(ip("203.0.113.2").value);
  REQUIRE(::sendto(from.fd().get(), "asks", 4, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 4);
}

void Bench::send_from_outside(const std::string& frame) const {
  REQUIRE(::write(outside_capture_->fd().get(), frame.data(), frame.size()) ==
          static_cast<ssize_t>(frame.size()));
}

}  // namespace lambdo::net
