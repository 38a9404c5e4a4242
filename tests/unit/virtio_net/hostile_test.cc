// What a guest, and what is on the wire, can do wrong, and what comes of it.

#include <random>

#include "guest.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

namespace {

struct Row {
  const char* what;
  size_t frame_bytes;
  void (*change)(Header&, Bytes&);
  Drop drop;
};

constexpr Row kRows[] = {
    {"no frame", 0, [](Header&, Bytes&) {}, Drop::malformed},
    {"half an Ethernet header", 13, [](Header&, Bytes&) {}, Drop::malformed},
    {"longer than the MTU", 1515, [](Header&, Bytes&) {}, Drop::too_long},
    {"longer than anything", 69'000, [](Header&, Bytes&) {}, Drop::too_long},
    {"another's address", 60, [](Header&, Bytes& frame) { frame[11] ^= std::byte{1}; }, Drop::foreign_source},
    {"no address", 60, [](Header&, Bytes& frame) { std::fill_n(frame.begin() + 6, 6, std::byte{0}); },
     Drop::foreign_source},
    {"segments of Ethernet", 3000, [](Header& header, Bytes&) { header = tcp_header(false, 1400); },
     Drop::bad_offload},
    {"a checksum beyond the frame", 60,
     [](Header& header, Bytes& frame) {
       header = udp_header(false);
       frame = udp_frame(false, 60);
       frame.resize(41);
     },
     Drop::bad_offload},
    {"a checksum in place of a port", 60,
     [](Header& header, Bytes& frame) {
       header = udp_header(false);
       header.csum_offset = 2;
       frame = udp_frame(false, 60);
     },
     Drop::bad_offload},
    {"every bit set", 60, [](Header& header, Bytes&) { std::memset(&header, 0xff, sizeof header); },
     Drop::bad_offload},
};

}  // namespace

TEST_CASE("a wrong frame is dropped and counted by its cause, and the next one passes") {
  with_guest([](Setup& setup) -> Task<> {
    for (const Row& row : kRows) {
      CAPTURE(row.what);
      Header header{};
      Bytes frame = guest_frame(row.frame_bytes);
      row.change(header, frame);
      const uint64_t before = setup.guest.device.counters().transmit.dropped(row.drop);
      setup.guest.send(frame, header);
      CHECK(co_await are_sent(setup.reactor, setup.guest, 1));
      CHECK_FALSE(setup.wire.take().has_value());
      CHECK_EQ(setup.guest.device.counters().transmit.dropped(row.drop), before + 1);
      setup.guest.send(guest_frame(60));
      CHECK(co_await are_sent(setup.reactor, setup.guest, 1));
      CHECK((co_await next(setup.reactor, setup.wire)).has_value());
    }
    CHECK_FALSE(setup.guest.has_failed());
    CHECK_EQ(setup.guest.device.counters().transmit.frames, std::size(kRows));
    co_return;
  });
}

TEST_CASE("a chain shorter than a header, or one for the device to write, is no frame") {
  with_guest([](Setup& setup) -> Task<> {
    setup.guest.transmit->add({{Guest::kSend, 5, false}});
    setup.guest.transmit->add({{Guest::kSend, 2000, true}});
    setup.guest.transmit->add({{Guest::kSend, 0, false}});
    setup.guest.kick();
    CHECK(co_await are_sent(setup.reactor, setup.guest, 3));
    CHECK_EQ(setup.guest.device.counters().transmit.dropped(Drop::malformed), 3U);
    CHECK_FALSE(setup.guest.has_failed());
    co_return;
  });
}

TEST_CASE("buffers that cannot take a header go back empty, and those behind them are used") {
  for (const uint64_t features : {Guest::kAll, Guest::kPlain}) {
    with_guest(
        [](Setup& setup) -> Task<> {
          setup.guest.offer(3, kHeaderBytes);
          setup.guest.receive->add({{Guest::kSend, 2000, false}});
          setup.guest.offer(1);
          setup.guest.offer(2, 1);
          setup.guest.offer(1);
          CHECK(setup.wire.send(host_frame(60, 1)));
          CHECK(setup.wire.send(host_frame(60, 2)));
          size_t empty = 0;
          std::vector<Bytes> frames;
          CHECK(co_await eventually(setup.reactor, [&] {
            while (const auto used = setup.guest.receive->take_used()) {
              if (used->len_bytes == 0) {
                ++empty;
              } else {
                frames.push_back({});
              }
            }
            return frames.size() == 2;
          }));
          CHECK_EQ(empty, 6U);
          CHECK_FALSE(setup.guest.has_failed());
        },
        {}, features);
  }
}

static Task<> break_chain(Setup& setup, uint32_t index) {
  auto& queue = index == Net::kRxQueue ? *setup.guest.receive : *setup.guest.transmit;
  queue.add({{Guest::kMemoryBytes - 10, 2000, index == Net::kRxQueue}});
  setup.guest.mmio.notify(index);
  CHECK(setup.wire.send(host_frame(60)));
  CHECK(co_await eventually(setup.reactor, [&] { return setup.guest.has_failed(); }));
  CHECK_EQ(setup.guest.host.failures, 1);
  const uint64_t turns = setup.reactor.statistics().turns;
  co_await reactor::SleepOp::for_ms(setup.reactor, 20);
  CHECK_LE(setup.reactor.statistics().turns - turns, 4U);

  CHECK(setup.guest.start());
  setup.guest.offer(64);
  CHECK((co_await next(setup.reactor, setup.guest)).has_value());
  setup.guest.send(guest_frame(60));
  CHECK((co_await next(setup.reactor, setup.wire)).has_value());
}

TEST_CASE("a broken chain fails the device until its driver resets it, and nothing spins") {
  for (const uint32_t index : {Net::kRxQueue, Net::kTxQueue}) {
    CAPTURE(index);
    with_guest([index](Setup& setup) { return break_chain(setup, index); });
  }
}

TEST_CASE("what is wrong on the wire is dropped and counted") {
  with_guest(
      [](Setup& setup) -> Task<> {
        setup.guest.offer(64);
        const std::array<std::byte, 5> few{};
        CHECK(::send(setup.wire.fd(), few.data(), few.size(), 0) == 5);
        CHECK(setup.wire.send(Bytes(13)));
        CHECK(setup.wire.send(host_frame(60), {.flags = Header::kNeedsCsum, .csum_start = 34}));
        CHECK(setup.wire.send(tcp_frame(false, 1000), tcp_header(false, 100)));
        CHECK(setup.wire.send(host_frame(1519)));
        CHECK(setup.wire.send(host_frame(60, 9)));
        const auto packet = co_await next(setup.reactor, setup.guest);
        REQUIRE(packet.has_value());
        CHECK(packet->frame == host_frame(60, 9));
        const DirectionCounters& counters = setup.guest.device.counters().receive;
        CHECK_EQ(counters.dropped(Drop::malformed), 2U);
        CHECK_EQ(counters.dropped(Drop::bad_offload), 2U);
        CHECK_EQ(counters.dropped(Drop::too_long), 1U);
        CHECK_EQ(counters.frames, 1U);
      },
      {}, Guest::kPlain | feature::kMrgRxbuf);
}

TEST_CASE("after a reset the driver's memory is its own, whatever waited") {
  with_guest([](Setup& setup) -> Task<> {
    setup.guest.offer(2);
    while (setup.wire.send(host_frame(900))) continue;
    for (int i = 0; i < 100; ++i) setup.guest.put({}, guest_frame(900));
    setup.guest.kick();
    setup.guest.mmio.write(0x70, 0);
    const auto memory = setup.guest.memory.guest().regions()[0].bytes;
    std::ranges::fill(memory, std::byte{0x5a});
    for (int i = 0; i < 50; ++i) {
      setup.wire.take();
      setup.wire.send(host_frame(60));
    }
    co_await reactor::SleepOp::for_ms(setup.reactor, 10);
    CHECK(std::ranges::all_of(memory, [](std::byte value) { return value == std::byte{0x5a}; }));
    std::ranges::fill(memory, std::byte{0});
    CHECK(setup.guest.start());
    setup.guest.offer(8);
    CHECK((co_await next(setup.reactor, setup.guest)).has_value());
  });
}

static Task<> reset_while_reading(Setup& setup, int turns_before) {
  setup.guest.offer(64);
  for (int i = 0; i < turns_before; ++i) co_await reactor::SleepOp::for_ms(setup.reactor, 1);
  // The frame may be there before the kernel hears of the reset.
  CHECK(setup.wire.send(host_frame(900)));
  setup.guest.put({}, guest_frame(900));
  setup.guest.mmio.notify(Net::kTxQueue);
  setup.guest.mmio.write(0x70, 0);
  const auto memory = setup.guest.memory.guest().regions()[0].bytes;
  std::ranges::fill(memory, std::byte{0x5a});
  CHECK(setup.wire.send(host_frame(900)));
  co_await reactor::SleepOp::for_ms(setup.reactor, 5);
  CHECK(std::ranges::all_of(memory, [](std::byte value) { return value == std::byte{0x5a}; }));
  std::ranges::fill(memory, std::byte{0});
  while (const auto packet = setup.wire.take()) CHECK(packet->frame == guest_frame(900));
  CHECK(setup.guest.start());
  setup.guest.offer(64);
  CHECK(setup.wire.send(host_frame(60)));
  CHECK((co_await next(setup.reactor, setup.guest)).has_value());
  setup.guest.send(guest_frame(60));
  CHECK((co_await next(setup.reactor, setup.wire)).has_value());
}

TEST_CASE("a read that waits in the kernel lets go of the driver's memory at its reset") {
  for (const int turns_before : {0, 1, 5}) {
    CAPTURE(turns_before);
    with_guest([turns_before](Setup& setup) { return reset_while_reading(setup, turns_before); });
  }
}

TEST_CASE("a device that is stopped with reads and writes in flight gives every chain back") {
  with_guest([](Setup& setup) -> Task<> {
    setup.guest.offer(64);
    co_await reactor::SleepOp::for_ms(setup.reactor, 1);
    CHECK_GT(setup.guest.transport.save().queues[Net::kRxQueue].in_flight(), 0);
    size_t put = 0;
    size_t done = 0;
    while (put == done) {
      for (int i = 0; i < 60; ++i, ++put) setup.guest.put({}, guest_frame(1000));
      setup.guest.kick();
      co_await reactor::SleepOp::for_ms(setup.reactor, 5);
      done += setup.guest.sent();
    }
    const uint16_t out = setup.guest.transport.save().queues[Net::kTxQueue].in_flight();
    CHECK_GT(out, 0);
    co_await setup.guest.device.stop();
    CHECK_EQ(setup.reactor.in_flight(), 0U);
    for (const virtio::QueueState& queue : setup.guest.transport.save().queues) {
      CHECK_EQ(queue.in_flight(), 0);
    }
    CHECK_EQ(done + setup.guest.sent(), put);
    CHECK_GT(setup.guest.device.counters().transmit.dropped(Drop::link_down), 0U);
    CHECK_FALSE(setup.guest.take().has_value());
  });
}

TEST_CASE("a device that was stopped moves nothing any more, whatever its driver does") {
  with_guest([](Setup& setup) -> Task<> {
    co_await setup.guest.device.stop();
    setup.guest.offer(8);
    setup.guest.send(guest_frame(60));
    CHECK(setup.wire.send(host_frame(60)));
    CHECK(setup.guest.start());
    setup.guest.offer(8);
    setup.guest.send(guest_frame(60));
    co_await reactor::SleepOp::for_ms(setup.reactor, 5);
    CHECK_FALSE(setup.wire.take().has_value());
    CHECK_FALSE(setup.guest.take().has_value());
  });
}

TEST_CASE("a wire that breaks takes the link down, and nothing spins") {
  auto reactor = Reactor::create().value();
  reactor::BlockingPool pool(*reactor, 1);
  auto wire = std::make_unique<Wire>(SOCK_SEQPACKET);  // tells of its end
  Guest guest(*reactor, pool, Tap::of_socket(wire->take_device_end()).value(), {.mac = kGuestMac});
  REQUIRE(guest.start());
  guest.offer(64);
  const auto body = [](Reactor& loop, Guest& broken, std::unique_ptr<Wire>& end) -> Task<> {
    co_await reactor::SleepOp::for_ms(loop, 5);
    end.reset();
    CHECK(co_await eventually(loop, [&] { return !broken.device.is_link_up(); }));
    const uint64_t turns = loop.statistics().turns;
    broken.send(guest_frame(60));
    co_await reactor::SleepOp::for_ms(loop, 20);
    CHECK_LE(loop.statistics().turns - turns, 4U);
    CHECK(co_await are_sent(loop, broken, 1));
    broken.device.set_link(true);
    CHECK_FALSE(broken.device.is_link_up());
  };
  reactor->run(body(*reactor, guest, wire));
  reactor->run(guest.device.stop());
}

static Task<> scribble(Setup& setup, std::minstd_rand& random) {
  for (int i = 0; i < 60; ++i) {
    switch (random() % 6) {
      case 0:
        static_cast<void>(
            setup.guest.memory.guest().write(0x1000 + random() % 0x9000, static_cast<uint16_t>(random())));
        break;
      case 1:
        setup.guest.mmio.notify(static_cast<uint32_t>(random() % 3));
        break;
      case 2:
        setup.wire.send(host_frame(14 + random() % 1500));
        break;
      case 3:
        setup.wire.take();
        break;
      case 4:
        if (setup.guest.transmit->free_descriptors() > 2) setup.guest.put({}, guest_frame(random() % 2000));
        break;
      default:
        co_await reactor::SleepOp::until(setup.reactor, 0);
    }
  }
}

TEST_CASE("a driver that scribbles over its rings gets a failed device at worst") {
  std::minstd_rand random(7);
  for (int round = 0; round < 50; ++round) {
    with_guest([&random](Setup& setup) { return scribble(setup, random); });
  }
}

}  // namespace lambdo::virtio_net::testing
