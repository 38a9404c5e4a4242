// What happens where one side has no room, where a rate is limited, and where there is much to do.

#include "guest.h"

#include "test.h"

namespace lambdo::virtio_net::testing {

/// How many turns the loop makes in 50 ms: one who waits makes none.
static Task<uint64_t> turns_while_waiting(Reactor& reactor) {
  const uint64_t before = reactor.statistics().turns;
  co_await reactor::SleepOp::for_ms(reactor, 50);
  co_return reactor.statistics().turns - before;
}

TEST_CASE("frames for a full wire wait in the guest's memory, at no cost, and none is lost") {
  with_guest([](Setup& setup) -> Task<> {
    size_t put = 0;
    size_t done = 0;
    // Until some are not taken.
    while (put == done) {
      for (int i = 0; i < 60; ++i) setup.guest.put({}, guest_frame(1000, static_cast<uint8_t>(put++)));
      setup.guest.kick();
      co_await reactor::SleepOp::for_ms(setup.reactor, 5);
      done += setup.guest.sent();
    }
    CHECK_LE(co_await turns_while_waiting(setup.reactor), 4U);
    std::vector<Bytes> expected;
    std::vector<Bytes> arrived;
    for (size_t i = 0; i < put; ++i) {
      auto packet = co_await next(setup.reactor, setup.wire);
      REQUIRE(packet.has_value());
      arrived.push_back(std::move(packet->frame));
      expected.push_back(guest_frame(1000, static_cast<uint8_t>(i)));
    }
    // The kernel wakes those that wait in any order. A TAP has no such end: see Tap::adopt.
    std::ranges::sort(arrived);
    std::ranges::sort(expected);
    CHECK(arrived == expected);
    CHECK(co_await eventually(setup.reactor, [&] { return (done += setup.guest.sent()) == put; }));
    CHECK_EQ(setup.guest.device.counters().transmit.frames, put);
  });
}

TEST_CASE("frames for a guest without buffers wait on the wire, at no cost, and none is lost") {
  with_guest([](Setup& setup) -> Task<> {
    int sent = 0;
    while (setup.wire.send(host_frame(1000, static_cast<uint8_t>(sent)))) ++sent;
    CHECK_LE(co_await turns_while_waiting(setup.reactor), 4U);
    for (int i = 0; i < sent; ++i) {
      // Far from what the longest frame needs, but all that this driver ever offers.
      setup.guest.offer(1);
      const auto packet = co_await next(setup.reactor, setup.guest);
      REQUIRE(packet.has_value());
      REQUIRE(packet->frame == host_frame(1000, static_cast<uint8_t>(i)));
    }
    CHECK_EQ(setup.guest.device.counters().receive.frames, static_cast<uint64_t>(sent));
    CHECK(setup.guest.device.counters().receive.drops == DirectionCounters{}.drops);
  });
}

TEST_CASE("a frame that waits for enough buffers gets them, or after a while what there is") {
  with_guest([](Setup& setup) -> Task<> {
    const Bytes frame = tcp_frame(false, 20'000);
    CHECK(setup.wire.send(frame, tcp_header(false, 1400)));
    CHECK(setup.wire.send(host_frame(60, 1)));
    for (int i = 0; i < 16; ++i) setup.guest.offer(1, 1536);
    const auto long_frame = co_await next(setup.reactor, setup.guest);
    REQUIRE(long_frame.has_value());
    CHECK(long_frame->frame == frame);
    CHECK((co_await next(setup.reactor, setup.guest)).has_value());
    while (setup.guest.receive->free_descriptors() < Guest::kQueueSize) {
      CHECK(setup.wire.send(host_frame(60, 1)));
      CHECK((co_await next(setup.reactor, setup.guest)).has_value());
    }

    setup.guest.offer(2, 1536);
    CHECK(setup.wire.send(frame, tcp_header(false, 1400)));
    CHECK(setup.wire.send(host_frame(60, 2)));
    const auto after = co_await next(setup.reactor, setup.guest);
    REQUIRE(after.has_value());
    CHECK(after->frame == host_frame(60, 2));
    CHECK_EQ(setup.guest.device.counters().receive.dropped(Drop::no_buffers), 1U);
  });
}

TEST_CASE("a buffer too short for a frame is kept for one that fits") {
  with_guest(
      [](Setup& setup) -> Task<> {
        setup.guest.offer(1, 200);
        CHECK(setup.wire.send(host_frame(189)));
        CHECK(setup.wire.send(host_frame(188, 5)));
        const auto packet = co_await next(setup.reactor, setup.guest);
        REQUIRE(packet.has_value());
        CHECK(packet->frame == host_frame(188, 5));
        CHECK_EQ(setup.guest.device.counters().receive.dropped(Drop::too_long), 1U);
      },
      {}, Guest::kPlain);
}

TEST_CASE("frames that were offered together leave together, for one notification and one interrupt") {
  with_guest([](Setup& setup) -> Task<> {
    co_await reactor::SleepOp::for_ms(setup.reactor, 1);
    for (uint8_t i = 0; i < 30; ++i) setup.guest.put({}, guest_frame(200, i));
    const uint64_t turns = setup.reactor.statistics().turns;
    const int interrupts = setup.guest.host.interrupts;
    setup.guest.mmio.notify(Net::kTxQueue);
    for (uint8_t i = 0; i < 30; ++i) {
      const auto packet = co_await next(setup.reactor, setup.wire);
      REQUIRE(packet.has_value());
      CHECK(packet->frame == guest_frame(200, i));
    }
    CHECK(co_await are_sent(setup.reactor, setup.guest, 30));
    CHECK_EQ(setup.guest.host.interrupts, interrupts + 1);
    // One io_uring_enter(2) a turn at most: far fewer than frames, waiting for them here included.
    CHECK_LE(setup.reactor.statistics().turns - turns, 6U);
  });
}

TEST_CASE(
    "more buffers are there for a frame that comes after they were offered, however short it was before") {
  with_guest([](Setup& setup) -> Task<> {
    // So that a read waits with next to nothing.
    setup.guest.offer(1, 1536);
    CHECK(setup.wire.send(host_frame(60)));
    CHECK((co_await next(setup.reactor, setup.guest)).has_value());
    setup.guest.offer(1, 1536);
    co_await reactor::SleepOp::for_ms(setup.reactor, 5);
    setup.guest.offer(50, 1536);
    co_await reactor::SleepOp::for_ms(setup.reactor, 5);
    const Bytes frame = tcp_frame(false, 40'000);
    CHECK(setup.wire.send(frame, tcp_header(false, 1400)));
    const auto packet = co_await next(setup.reactor, setup.guest);
    REQUIRE(packet.has_value());
    CHECK(packet->frame == frame);
    CHECK(setup.guest.device.counters().receive.drops == DirectionCounters{}.drops);
  });
}

TEST_CASE("one wake-up moves no more than its limit, and the rest follows") {
  with_guest([](Setup& setup) -> Task<> {
    // Dropped at once, so that the wire is no limit.
    setup.guest.device.set_link(false);
    for (int i = 0; i < Guest::kQueueSize; ++i) setup.guest.put({}, guest_frame(60), {});
    setup.guest.mmio.notify(Net::kTxQueue);
    CHECK(setup.guest.transport.has_work());
    CHECK_LE(setup.guest.sent(), kWakeUpLimits.rounds);
    for (int i = 0; i < 100 && setup.guest.transport.has_work(); ++i) setup.guest.transport.resume();
    CHECK_FALSE(setup.guest.transport.has_work());
    CHECK_EQ(setup.guest.device.counters().transmit.dropped(Drop::link_down), Guest::kQueueSize);
    co_return;
  });
}

TEST_CASE("a limit of packets lets a burst pass, then so many a second, each way") {
  const DirectionLimits limits = {.packets = {.per_second = 200, .burst = 5}};
  with_guest(
      [](Setup& setup) -> Task<> {
        const int64_t start_ns = setup.reactor.now_ns();
        for (uint8_t i = 0; i < 25; ++i) setup.guest.put({}, guest_frame(100, i));
        setup.guest.kick();
        co_await reactor::SleepOp::for_ms(setup.reactor, 2);
        const size_t at_once = setup.guest.sent();
        CHECK_GE(at_once, 5U);
        CHECK_LE(at_once, 7U);
        for (uint8_t i = 0; i < 25; ++i) {
          const auto packet = co_await next(setup.reactor, setup.wire);
          REQUIRE(packet.has_value());
          CHECK(packet->frame == guest_frame(100, i));
        }
        CHECK_GE(setup.reactor.now_ns() - start_ns, 95'000'000);
        CHECK_GT(setup.guest.device.counters().transmit.pauses, 0U);

        const int64_t second_ns = setup.reactor.now_ns();
        setup.guest.offer(64, 2048);
        for (uint8_t i = 0; i < 25; ++i) {
          // The wire holds no more than ten.
          CHECK(co_await eventually(setup.reactor, [&] { return setup.wire.send(host_frame(100, i)); }));
        }
        for (uint8_t i = 0; i < 25; ++i) {
          const auto packet = co_await next(setup.reactor, setup.guest);
          REQUIRE(packet.has_value());
          CHECK(packet->frame == host_frame(100, i));
        }
        CHECK_GE(setup.reactor.now_ns() - second_ns, 95'000'000);
        CHECK_GT(setup.guest.device.counters().receive.pauses, 0U);
      },
      {.transmit_limits = limits, .receive_limits = limits}, Guest::kPlain);
}

TEST_CASE("a limit of bytes holds, and a pause costs nothing but its end") {
  with_guest(
      [](Setup& setup) -> Task<> {
        const int64_t start_ns = setup.reactor.now_ns();
        setup.guest.send(tcp_frame(false, 20'000), tcp_header(false, 1400));
        CHECK((co_await next(setup.reactor, setup.wire)).has_value());
        setup.guest.send(guest_frame(100));
        CHECK_FALSE(setup.wire.take().has_value());
        for (int i = 0; i < 100; ++i) setup.guest.mmio.notify(Net::kTxQueue);
        CHECK_EQ(setup.guest.device.counters().transmit.pauses, 1U);
        CHECK_LE(co_await turns_while_waiting(setup.reactor), 4U);
        CHECK((co_await next(setup.reactor, setup.wire)).has_value());
        CHECK_GE(setup.reactor.now_ns() - start_ns, 180'000'000);
      },
      {.transmit_limits = {.bytes = {.per_second = 100'000, .burst = 2000}}});
}

TEST_CASE("a segmented frame counts as the packets that it becomes") {
  with_guest(
      [](Setup& setup) -> Task<> {
        setup.guest.send(tcp_frame(false, 14'000), tcp_header(false, 1400));
        CHECK((co_await next(setup.reactor, setup.wire)).has_value());
        const int64_t start_ns = setup.reactor.now_ns();
        setup.guest.send(guest_frame(100));
        CHECK((co_await next(setup.reactor, setup.wire)).has_value());
        CHECK_GE(setup.reactor.now_ns() - start_ns, 80'000'000);
      },
      {.transmit_limits = {.packets = {.per_second = 100, .burst = 1}}});
}

}  // namespace lambdo::virtio_net::testing
