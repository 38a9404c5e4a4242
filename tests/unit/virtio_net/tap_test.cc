// A real TAP, in a network namespace of the test's own.

#include "virtio_net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <functional>
#include <string>
#include <thread>

#include "guest.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

namespace {

constexpr const char* kName = "lambdo-t0";
constexpr uint32_t kHostAddress = 0x0a630001;   // 10.99.0.1
constexpr uint32_t kGuestAddress = 0x0a630002;  // 10.99.0.2

/// Runs `body` on a thread in a network namespace of its own; says so and does nothing where that may not be.
void in_namespace(const std::function<void()>& body) {
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0 || ::access("/dev/net/tun", R_OK | W_OK) != 0) {
      MESSAGE("skipped: no network namespace, or no /dev/net/tun, for this user");
      return;
    }
    body();
  }).join();
}

ifreq named_request() {
  ifreq request{};
  std::strncpy(request.ifr_name, kName, IFNAMSIZ - 1);
  return request;
}

Fd open_tap(int flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, int header_bytes = kHeaderBytes) {
  Fd fd = sys::open("/dev/net/tun", O_RDWR).value();
  ifreq request = named_request();
  request.ifr_flags = static_cast<short>(flags);
  CHECK_EQ(::ioctl(fd.get(), TUNSETIFF, &request), 0);
  if ((flags & IFF_VNET_HDR) != 0) CHECK_EQ(::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes), 0);
  return fd;
}

Fd inet_socket() {
  return Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

sockaddr_in address(uint32_t ip, uint16_t port = 0) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  result.sin_addr.s_addr = htonl(ip);
  return result;
}

/// 10.99.0.1/24, up.
void bring_up() {
  const Fd control = inet_socket();
  ifreq request = named_request();
  const auto set_address = [&](unsigned long what, uint32_t ip) {
    const sockaddr_in value = address(ip);
    std::memcpy(&request.ifr_addr, &value, sizeof value);
    CHECK_EQ(::ioctl(control.get(), what, &request), 0);
  };
  set_address(SIOCSIFADDR, kHostAddress);
  set_address(SIOCSIFNETMASK, 0xffffff00);
  request.ifr_flags = IFF_UP;
  CHECK_EQ(::ioctl(control.get(), SIOCSIFFLAGS, &request), 0);
}

/// Whether the interface may give frames to be segmented.
bool segments_tcp() {
  const Fd control = inet_socket();
  ethtool_value value = {.cmd = ETHTOOL_GTSO, .data = 0};
  ifreq request = named_request();
  request.ifr_data = reinterpret_cast<char*>(&value);
  CHECK_EQ(::ioctl(control.get(), SIOCETHTOOL, &request), 0);
  return value.data != 0;
}

void put_word(Bytes& frame, size_t at, uint32_t value, size_t len_bytes) {
  for (size_t i = 0; i < len_bytes; ++i) {
    frame[at + i] = static_cast<std::byte>(value >> (8 * (len_bytes - 1 - i)));
  }
}

/// Who has the host's address? (RFC 826)
Bytes arp_request() {
  Bytes frame = ethernet_frame({{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, kGuestMac, 42, 0, 0x0806);
  std::fill(frame.begin() + 14, frame.end(), std::byte{0});
  put_word(frame, 14, 0x00010800, 4);
  put_word(frame, 18, 0x06040001, 4);
  std::copy_n(frame.begin() + 6, 6, frame.begin() + 22);
  put_word(frame, 28, kGuestAddress, 4);
  put_word(frame, 38, kHostAddress, 4);
  return frame;
}

uint16_t folded(uint32_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

/// An IPv4 header in `frame` for a packet of `protocol`, and the pseudo header's sum where the checksum of
/// what is behind it goes, as the driver leaves it to the device (virtio 1.2, 5.1.6.2).
void write_ip(Bytes& frame, uint8_t protocol, size_t checksum_at) {
  const auto ip_bytes = static_cast<uint32_t>(frame.size() - 14);
  put_word(frame, 14, 0x45000000 | ip_bytes, 4);
  put_word(frame, 18, 0, 4);
  put_word(frame, 22, 0x40000000U | uint32_t{protocol} << 16, 4);
  put_word(frame, 26, kGuestAddress, 4);
  put_word(frame, 30, kHostAddress, 4);
  const uint32_t addresses =
      (kGuestAddress >> 16) + (kGuestAddress & 0xffff) + (kHostAddress >> 16) + (kHostAddress & 0xffff);
  const uint32_t sum = 0x4500 + ip_bytes + 0x4000 + protocol + addresses;
  put_word(frame, 24, static_cast<uint16_t>(~folded(sum)), 2);
  put_word(frame, checksum_at, folded(addresses + protocol + ip_bytes - 20), 2);
}

/// A datagram to port 7 of the host, to be given its checksum.
Bytes udp_frame(const MacAddress& host, std::string_view text) {
  Bytes frame = ethernet_frame(host, kGuestMac, 14 + 20 + 8 + text.size(), 0, 0x0800);
  put_word(frame, 34, 5000, 2);
  put_word(frame, 36, 7, 2);
  put_word(frame, 38, static_cast<uint32_t>(8 + text.size()), 2);
  std::memcpy(&frame[42], text.data(), text.size());
  write_ip(frame, IPPROTO_UDP, 40);
  return frame;
}

/// Runs `body(reactor, guest)` with a guest on a TAP.
template <typename Body>
void with_tap(uint64_t features, Body body) {
  auto reactor = Reactor::create().value();
  reactor::BlockingPool pool(*reactor, 1);
  Guest guest(*reactor, pool, Tap::adopt(open_tap()).value(), {.mac = kGuestMac});
  bring_up();
  CHECK(guest.start(features));
  guest.offer(100);
  reactor->run(body(*reactor, guest));
  reactor->run(guest.device.stop());
}

/// The host's answer to an ARP request: its address.
Task<std::optional<MacAddress>> ask_for_host(Reactor& reactor, Guest& guest) {
  guest.send(arp_request());
  for (int i = 0; i < 20; ++i) {
    // The kernel also speaks by itself, of its groups for instance.
    const auto packet = co_await next(reactor, guest);
    if (!packet) co_return std::nullopt;
    if (packet->frame.size() < 42 || packet->frame[12] != std::byte{8} || packet->frame[13] != std::byte{6}) {
      continue;
    }
    MacAddress host;
    std::memcpy(host.bytes.data(), &packet->frame[22], host.bytes.size());
    co_return host;
  }
  co_return std::nullopt;
}

Task<> speak(Reactor& reactor, Guest& guest) {
  const auto host = co_await ask_for_host(reactor, guest);
  REQUIRE(host.has_value());
  const Fd socket = inet_socket();
  const sockaddr_in own = address(kHostAddress, 7);
  REQUIRE_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0);
  guest.send(udp_frame(*host, "to be summed up"),
             {.flags = Header::kNeedsCsum, .csum_start = 34, .csum_offset = 6});
  std::array<char, 100> text{};
  CHECK(co_await eventually(
      reactor, [&] { return ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT) == 15; }));
  CHECK_EQ(std::string(text.data()), "to be summed up");

  // The kernel takes it; nobody is at home for it.
  const uint64_t before = guest.device.counters().transmit.frames;
  Bytes segments = tcp_frame(false, 20'000);
  std::memcpy(segments.data(), host->bytes.data(), host->bytes.size());
  write_ip(segments, IPPROTO_TCP, 50);
  guest.sent();
  guest.send(segments, tcp_header(false, 1400));
  CHECK(co_await are_sent(reactor, guest, 1));
  CHECK_EQ(guest.device.counters().transmit.frames, before + 1);
  CHECK(guest.device.counters().transmit.drops == DirectionCounters{}.drops);
}

}  // namespace

TEST_CASE("a guest speaks with the host's network stack, checksums and segments left to it") {
  in_namespace([] { with_tap(Guest::kAll, speak); });
}

TEST_CASE("a device stops while a read waits in the TAP, and a closed TAP leaves nothing in the kernel") {
  in_namespace([] {
    auto reactor = Reactor::create().value();
    reactor::BlockingPool pool(*reactor, 1);
    for (int i = 0; i < 3; ++i) {
      // The same name again: the one before is really gone.
      Guest guest(*reactor, pool, Tap::adopt(open_tap()).value(), {.mac = kGuestMac});
      bring_up();
      REQUIRE(guest.start());
      guest.offer(100);
      const auto waits = [](Reactor& loop, Guest& waiting) -> Task<> {
        CHECK((co_await ask_for_host(loop, waiting)).has_value());
        co_await reactor::SleepOp::for_ms(loop, 2);
        CHECK_GT(loop.in_flight(), 0U);
      };
      reactor->run(waits(*reactor, guest));
      reactor->run(guest.device.stop());
      CHECK_EQ(reactor->in_flight(), 0U);
    }
  });
}

TEST_CASE("the TAP is told what the driver agreed to, anew after each reset") {
  in_namespace([] {
    with_tap(Guest::kAll, [](Reactor& reactor, Guest& guest) -> Task<> {
      CHECK(co_await eventually(reactor, segments_tcp));
      for (const uint64_t features : {Guest::kPlain, Guest::kAll}) {
        CHECK(guest.start(features));
        CHECK(co_await eventually(reactor, [&] { return segments_tcp() == (features == Guest::kAll); }));
        guest.offer(100);
        CHECK((co_await ask_for_host(reactor, guest)).has_value());
      }
      // Resets faster than the kernel is told.
      for (int i = 0; i < 20; ++i) {
        CHECK(guest.start(i % 2 == 0 ? Guest::kAll : Guest::kPlain));
        if (i % 3 == 0) co_await reactor::SleepOp::until(reactor, 0);
      }
      CHECK(co_await eventually(reactor, [] { return !segments_tcp(); }));
    });
  });
}

TEST_CASE("an interface that is down refuses frames, and one that is deleted takes the link down") {
  in_namespace([] {
    with_tap(Guest::kAll, [](Reactor& reactor, Guest& guest) -> Task<> {
      CHECK((co_await ask_for_host(reactor, guest)).has_value());
      const Fd control = inet_socket();
      ifreq request = named_request();
      CHECK_EQ(::ioctl(control.get(), SIOCSIFFLAGS, &request), 0);
      guest.sent();
      guest.send(guest_frame(60));
      CHECK(co_await are_sent(reactor, guest, 1));
      CHECK_EQ(guest.device.counters().transmit.dropped(Drop::refused_by_kernel), 1U);
      CHECK(guest.device.is_link_up());
      bring_up();
      CHECK((co_await ask_for_host(reactor, guest)).has_value());

      if (std::system("ip link delete lambdo-t0") != 0) {
        MESSAGE("skipped: no ip(8) to delete an interface with");
        co_return;
      }
      CHECK(co_await eventually(reactor, [&] { return !guest.device.is_link_up(); }));
      const uint64_t turns = reactor.statistics().turns;
      guest.send(guest_frame(60));
      co_await reactor::SleepOp::for_ms(reactor, 20);
      CHECK_LE(reactor.statistics().turns - turns, 4U);
    });
  });
}

TEST_CASE("only a TAP whose frames have our headers is taken") {
  in_namespace([] {
    CHECK(Tap::adopt(open_tap()).has_value());
    CHECK_EQ(Tap::adopt(open_tap(IFF_TAP | IFF_NO_PI)).error().code, Code::invalid_argument);
    CHECK_EQ(Tap::adopt(open_tap(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)).error().code, Code::invalid_argument);
    CHECK_EQ(Tap::adopt(open_tap(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, 10)).error().code,
             Code::invalid_argument);
    CHECK_FALSE(Tap::adopt(sys::eventfd(0).value()).has_value());
  });
}

}  // namespace lambdo::virtio_net::testing
