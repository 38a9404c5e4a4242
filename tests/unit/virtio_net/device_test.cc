// Frames both ways, the configuration space, the link.

#include "guest.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

TEST_CASE("a frame of the guest's reaches the wire, however its buffers are cut") {
  with_guest([](Setup& setup) -> Task<> {
    const Bytes frame = guest_frame(1000);
    const std::initializer_list<size_t> cuts[] = {{},   {12},         {1, 2, 3, 11, 12, 13, 25, 26, 27},
                                                  {26}, {30, 31, 40}, {5, 500, 1000}};
    for (const auto& cut : cuts) {
      setup.guest.put({}, frame, cut);
      setup.guest.kick();
      CHECK(co_await are_sent(setup.reactor, setup.guest, 1));
      const auto packet = co_await next(setup.reactor, setup.wire);
      REQUIRE(packet.has_value());
      CHECK(packet->header == Header{});
      CHECK(packet->frame == frame);
    }
    CHECK_EQ(setup.guest.device.counters().transmit.frames, std::size(cuts));
    CHECK_EQ(setup.guest.device.counters().transmit.bytes, 1000 * std::size(cuts));
    CHECK_GT(setup.guest.host.interrupts, 0);
    co_return;
  });
}

TEST_CASE("a frame without its checksum reaches the wire, however long its headers and its buffers are") {
  with_guest([](Setup& setup) -> Task<> {
    for (const bool is_ip6 : {false, true}) {
      Bytes frame = udp_frame(is_ip6, 1000);
      Header header = udp_header(is_ip6);
      const size_t more_bytes = is_ip6 ? 160 : 40;
      frame.insert(frame.begin() + header.csum_start, more_bytes, std::byte{0});
      if (is_ip6) {
        frame[20] = std::byte{60};
        frame[54] = std::byte{17};
        frame[55] = std::byte{160 / 8 - 1};
      } else {
        frame[14] = std::byte{0x4f};
      }
      header.csum_start = static_cast<uint16_t>(header.csum_start + more_bytes);
      for (const auto& cut : {std::initializer_list<size_t>{12}, {}, {5, 30, 40, 41, 100, 300}}) {
        setup.guest.put(header, frame, cut);
        setup.guest.kick();
        CHECK(co_await are_sent(setup.reactor, setup.guest, 1));
        const auto packet = co_await next(setup.reactor, setup.wire);
        REQUIRE(packet.has_value());
        CHECK(packet->header == header);
        CHECK(packet->frame == frame);
      }
    }
  });
}

TEST_CASE("a segmented frame reaches the wire whole, behind a header made of what was checked") {
  with_guest([](Setup& setup) -> Task<> {
    const Bytes frame = tcp_frame(false, 60'000);
    Header header = tcp_header(false, 1400);
    header.flags |= 0xf0;
    header.hdr_len = 1;
    header.num_buffers = 7;
    setup.guest.send(frame, header);
    const auto packet = co_await next(setup.reactor, setup.wire);
    REQUIRE(packet.has_value());
    CHECK(packet->header == tcp_header(false, 1400));
    CHECK(packet->frame == frame);
    co_return;
  });
}

static Task<> receive_all(Setup& setup) {
  for (const size_t len_bytes : {size_t{14}, size_t{60}, size_t{1514}}) {
    CAPTURE(len_bytes);
    const Bytes frame = host_frame(len_bytes, 3);
    setup.guest.offer(1, 2048, 3);
    CHECK(setup.wire.send(frame));
    const auto packet = co_await next(setup.reactor, setup.guest);
    REQUIRE(packet.has_value());
    CHECK(packet->header == Header{.num_buffers = 1});
    CHECK(packet->frame == frame);
  }
  CHECK_EQ(setup.guest.device.counters().receive.frames, 3U);
  CHECK_EQ(setup.guest.device.counters().receive.bytes, 14U + 60 + 1514);
}

TEST_CASE("a frame of the wire's reaches the guest, with and without merged buffers") {
  with_guest(receive_all, {}, Guest::kPlain);
  with_guest(receive_all, {}, Guest::kPlain | feature::kMrgRxbuf);
}

TEST_CASE("a long frame lies in as many buffers as it needs, given back together") {
  with_guest([](Setup& setup) -> Task<> {
    setup.guest.offer(100, 1536, 2);
    const Bytes frame = tcp_frame(false, 40'000);
    const Header header = tcp_header(false, 1400);
    CHECK(setup.wire.send(frame, header));
    CHECK(setup.wire.send(host_frame(60), {}));
    const auto first = co_await next(setup.reactor, setup.guest);
    REQUIRE(first.has_value());
    CHECK_EQ(first->chains, (kHeaderBytes + frame.size() + 1535) / 1536);
    Header expected = header;
    expected.num_buffers = static_cast<uint16_t>(first->chains);
    CHECK(first->header == expected);
    CHECK(first->frame == frame);
    const auto second = co_await next(setup.reactor, setup.guest);
    REQUIRE(second.has_value());
    CHECK_EQ(second->chains, 1U);
    CHECK(second->frame == host_frame(60));
  });
}

TEST_CASE("buffers go round: a thousand frames of all lengths arrive in order and unchanged") {
  with_guest([](Setup& setup) -> Task<> {
    setup.guest.offer(Guest::kQueueSize / 2, 1536, 2);
    int received = 0;
    int sent = 0;
    const auto frame_of = [](int i) {
      return i % 9 == 0 ? tcp_frame(false, static_cast<size_t>(i) * 37 % 30'000)
                        : host_frame(14 + static_cast<size_t>(i) * 53 % 1500, static_cast<uint8_t>(i));
    };
    while (received < 1000) {
      if (sent < 1000 &&
          setup.wire.send(frame_of(sent), sent % 9 == 0 ? tcp_header(false, 1400) : Header{})) {
        ++sent;
        continue;
      }
      const auto packet = co_await next(setup.reactor, setup.guest);
      REQUIRE(packet.has_value());
      REQUIRE(packet->frame == frame_of(received));
      setup.guest.offer(packet->chains, 1536, 2);
      ++received;
    }
    CHECK_EQ(setup.guest.device.counters().receive.frames, 1000U);
  });
}

TEST_CASE("the configuration space tells address, link and MTU, and cannot be written") {
  with_guest(
      [](Setup& setup) -> Task<> {
        std::array<uint8_t, 16> config{};
        const auto read = [&] {
          setup.guest.transport.read(0x100, std::as_writable_bytes(std::span(config)));
        };
        read();
        const std::array<uint8_t, 16> expected = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 1, 0, 0, 0, 0x78, 0x05};
        CHECK(config == expected);
        const std::array<std::byte, 6> other{};
        setup.guest.transport.write(0x100, other);
        read();
        CHECK(config == expected);
        co_return;
      },
      {.mtu = 1400});
}

TEST_CASE("a change of the link is told to the driver, and frames wait or are dropped while it is down") {
  with_guest([](Setup& setup) -> Task<> {
    setup.guest.offer(64);
    const auto status = [&] {
      std::array<std::byte, 2> bytes{};
      setup.guest.transport.read(0x106, bytes);
      return static_cast<int>(bytes[0]);
    };
    const uint32_t generation = setup.guest.mmio.read(0xfc);
    setup.guest.device.set_link(false);
    CHECK_EQ(status(), 0);
    CHECK_NE(setup.guest.mmio.read(0xfc), generation);
    CHECK_EQ(setup.guest.mmio.read(0x60) & 2, 2U);
    const int interrupts = setup.guest.host.interrupts;
    setup.guest.device.set_link(false);
    CHECK_EQ(setup.guest.host.interrupts, interrupts);

    setup.guest.send(guest_frame(60));
    CHECK(co_await are_sent(setup.reactor, setup.guest, 1));
    CHECK_FALSE(setup.wire.take().has_value());
    CHECK_EQ(setup.guest.device.counters().transmit.dropped(Drop::link_down), 1U);
    CHECK(setup.wire.send(host_frame(60)));
    co_await reactor::SleepOp::for_ms(setup.reactor, 5);
    CHECK_FALSE(setup.guest.take().has_value());

    setup.guest.device.set_link(true);
    CHECK_EQ(status(), 1);
    CHECK((co_await next(setup.reactor, setup.guest)).has_value());
    setup.guest.send(guest_frame(60));
    CHECK((co_await next(setup.reactor, setup.wire)).has_value());
  });
}

TEST_CASE("offloads are offered only where they are wanted") {
  auto reactor = Reactor::create().value();
  reactor::BlockingPool pool(*reactor, 1);
  for (const bool offloads : {false, true}) {
    Wire wire;
    Net device(*reactor, pool, Tap::of_socket(wire.take_device_end()).value(),
               {.mac = kGuestMac, .offloads = offloads});
    CHECK_EQ(device.features(),
             (offloads ? Guest::kAll : Guest::kPlain | feature::kMrgRxbuf) & ~virtio::kFeatureVersion1);
    CHECK_EQ(device.type(), 1U);
  }
}

TEST_CASE("a driver that takes features without those they need does not get the device") {
  with_guest([](Setup& setup) -> Task<> {
    CHECK_FALSE(setup.guest.start(Guest::kPlain | feature::kHostTso4));
    CHECK(setup.guest.has_failed());
    CHECK(setup.guest.start());
    setup.guest.send(guest_frame(60));
    CHECK((co_await next(setup.reactor, setup.wire)).has_value());
    co_return;
  });
}

TEST_CASE("a guest goes on with another device, another wire and another address") {
  auto reactor = Reactor::create().value();
  reactor::BlockingPool pool(*reactor, 1);
  Wire wire;
  Guest guest(*reactor, pool, Tap::of_socket(wire.take_device_end()).value(), {.mac = kGuestMac});
  REQUIRE(guest.start());
  guest.offer(16, 2048);
  guest.device.set_link(false);
  reactor->run(guest.device.stop());
  const Net::State state = guest.device.save();
  const virtio::MmioState registers = guest.transport.save();
  CHECK(state == Net::State{.mac = kGuestMac, .mtu = 1500, .is_link_up = false});

  const MacAddress mac = {{0x02, 9, 9, 9, 9, 9}};
  Wire other;
  Net clone(*reactor, pool, Tap::of_socket(other.take_device_end()).value(), {.mac = mac});
  Net::State wrong = state;
  wrong.mtu = 1400;
  CHECK_EQ(clone.restore(wrong).error().code, Code::invalid_argument);
  wrong = state;
  wrong.mac.bytes[0] = 1;
  CHECK_EQ(clone.restore(wrong).error().code, Code::invalid_argument);
  REQUIRE(clone.restore(state).has_value());
  CHECK_FALSE(clone.is_link_up());
  CHECK(clone.mac() == mac);
  virtio::testing::RecordingHost host;
  virtio::MmioTransport transport(clone, guest.memory.guest(), host);
  REQUIRE(transport.restore(registers).has_value());
  CHECK_GT(host.interrupts, 0);  // to look at the link
  transport.resume();
  clone.set_link(true);
  CHECK(other.send(host_frame(60)));
  const auto arrived = [](Setup& setup) -> Task<> {
    CHECK((co_await next(setup.reactor, setup.guest)).has_value());
    CHECK((co_await next(setup.reactor, setup.wire)).has_value());
  };
  Setup setup{*reactor, guest, other};
  guest.put({}, ethernet_frame(kHostMac, mac, 60));
  transport.notify(Net::kTxQueue);
  reactor->run(arrived(setup));
  reactor->run(clone.stop());
}

}  // namespace lambdo::virtio_net::testing
