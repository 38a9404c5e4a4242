// Resets, the end, and snapshots, with connections under way.

#include "harness.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::vsock::testing {

static Task<> dial(Guest& guest, uint32_t port, std::optional<Result<Fd>>& result) {
  result.emplace(co_await guest.device.connect(port, {}));
}

/// Gives the guest's `count` packets of 50'000 bytes on the connection of ports 1 and 5; the host reads none.
static void fill(Guest& guest, int count) {
  const std::string block(50'000, 'x');
  for (int i = 0; i < count; ++i) {
    guest.send(data_packet(1, 5, 50'000), bytes_of(block));
    while (guest.take()) guest.offer_receive(1);
  }
}

TEST_CASE("a reset ends connections and calls, and what the guest sent still reaches the host") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    fill(guest, 8);
    reactor::Scope scope(reactor);
    std::optional<Result<Fd>> called;
    scope.spawn(dial(guest, 7, called));
    CHECK((co_await next_packet(reactor, guest)).has_value());

    guest.mmio.write(0x70, 0);
    // The driver's memory is its own again: a sign in it must survive all that ends later.
    std::ranges::fill(guest.memory.guest().regions()[0].bytes, std::byte{0x5a});
    co_await scope.join();
    REQUIRE(called.has_value());
    CHECK(called->error().code == Code::closed);
    size_t read = 0;
    bool ended = false;
    CHECK(co_await eventually(reactor, [&] {
      read += read_now(socket, &ended).size();
      return ended;
    }));
    CHECK_EQ(read, 400'000U);
    CHECK(co_await eventually(reactor, [&] { return guest.device.connections() == 0; }));
    CHECK(std::ranges::all_of(guest.memory.guest().regions()[0].bytes,
                              [](std::byte value) { return value == std::byte{0x5a}; }));
    std::ranges::fill(guest.memory.guest().regions()[0].bytes, std::byte{0});
  });
}

TEST_CASE("stop ends what is under way, even where the host reads nothing") {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  Guest guest(**reactor);
  REQUIRE(guest.start());
  guest.offer_receive(16);
  Fd full = open_connection(guest, 1, 5);
  const Fd idle = open_connection(guest, 2, 5);
  fill(guest, 8);
  const auto body = [](Reactor& loop, Guest& stopped) -> Task<> {
    reactor::Scope scope(loop);
    std::optional<Result<Fd>> called;
    scope.spawn(dial(stopped, 7, called));
    CHECK((co_await next_packet(loop, stopped)).has_value());
    co_await stopped.device.stop();
    co_await scope.join();
    REQUIRE(called.has_value());
    CHECK(called->error().code == Code::closed);
    CHECK((co_await stopped.device.connect(7, {})).error().code == Code::closed);
  };
  (*reactor)->run(body(**reactor, guest));
  CHECK_EQ(guest.device.connections(), 0U);
  CHECK_EQ((*reactor)->in_flight(), 0U);
  bool ended = false;
  read_now(idle, &ended);
  CHECK(ended);
  // A driver that goes on is refused.
  guest.device.listen(5, [](Fd, uint32_t) { FAIL("accepted after stop"); });
  guest.send(packet(Op::request, 9, 5));
}

/// A guest that was saved with a connection open, and goes on in another device.
struct Restored {
  explicit Restored(Reactor& loop, size_t event_buffers = 3) : reactor(loop), guest(loop), device(loop, {}) {
    CHECK(guest.start());
    guest.offer_receive(16);
    for (size_t i = 0; i < event_buffers; ++i) guest.events.add({{0x9000 + 64 * i, 4, true}});
    guest.mmio.notify(Vsock::kEventQueue);
    const Fd socket = open_connection(guest, 1, 5);
    CHECK_FALSE(guest.events.take_used().has_value());
    const virtio::MmioState registers = guest.transport.save();
    // Nothing that was popped is lost: 16 buffers, one of them used for the response.
    CHECK_EQ(registers.queues[Vsock::kRxQueue].in_flight(), 0);
    CHECK(device.restore(guest.device.save()).has_value());
    CHECK(transport.restore(registers).has_value());
  }
  void resume() {
    while (transport.has_work()) transport.resume();
  }
  void stop() {
    reactor.run(device.stop());
    reactor.run(guest.device.stop());
  }

  Reactor& reactor;
  Guest guest;
  Vsock device;
  virtio::testing::RecordingHost host;
  virtio::MmioTransport transport{device, guest.memory.guest(), host};
};

TEST_CASE("a restored guest is told that its connections are gone, and listeners stay") {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  Restored restored(**reactor);
  int accepted = 0;
  restored.device.listen(5, [&](Fd, uint32_t) { ++accepted; });
  restored.resume();
  const auto event = restored.guest.events.take_used();
  REQUIRE(event.has_value());
  CHECK_EQ(event->len_bytes, 4U);
  CHECK_FALSE(restored.guest.events.take_used().has_value());
  CHECK_GE(restored.host.interrupts, 1);
  restored.guest.put(packet(Op::request, 2, 5), {});
  restored.transport.notify(Vsock::kTxQueue);
  CHECK_EQ(accepted, 1);
  CHECK_EQ(restored.device.connections(), 1U);
  restored.stop();
}

TEST_CASE("packets for a restored guest wait until it has dealt with the event") {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  Restored restored(**reactor);
  const auto answer_of = [&] { return restored.guest.take(); };
  restored.guest.put(packet(Op::data, 1, 5), {});
  restored.transport.notify(Vsock::kTxQueue);
  CHECK_FALSE(answer_of().has_value());
  restored.resume();
  restored.transport.notify(Vsock::kRxQueue);
  restored.transport.notify(Vsock::kEventQueue);
  CHECK_FALSE(answer_of().has_value());
  // A snapshot from now has to tell it again.
  CHECK(restored.device.save().transport_reset_due);

  REQUIRE(restored.guest.events.take_used().has_value());
  restored.guest.events.add({{0x9000, 4, true}});
  // The driver with event indices notifies only where the device wants it for just this entry.
  CHECK_EQ(restored.guest.events.avail_event(), 3);
  restored.transport.notify(Vsock::kEventQueue);
  const auto answer = answer_of();
  REQUIRE(answer.has_value());
  CHECK(answer->is(Op::reset));
  CHECK_FALSE(restored.device.save().transport_reset_due);
  restored.stop();
}

TEST_CASE("a restored guest without a buffer for the event goes on, and is told once it has one") {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  Restored restored(**reactor, 0);
  restored.resume();
  restored.guest.put(packet(Op::data, 1, 5), {});
  restored.transport.notify(Vsock::kTxQueue);
  CHECK(restored.guest.take().has_value());
  restored.guest.events.add({{0x9000, 3, true}});
  restored.guest.events.add({{0x9000, 4, true}});
  restored.transport.notify(Vsock::kEventQueue);
  CHECK_EQ(restored.guest.events.take_used()->len_bytes, 3U);
  CHECK_EQ(restored.guest.events.take_used()->len_bytes, 4U);
  restored.stop();
}

TEST_CASE("a state of another guest is refused") {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  Vsock device(**reactor, {});
  Vsock::State state = device.save();
  CHECK(device.restore(state).has_value());
  for (const uint64_t cid : {uint64_t{0}, uint64_t{2}, uint64_t{4}, ~uint64_t{0}}) {
    state.guest_cid = cid;
    CHECK(device.restore(state).error().code == Code::invalid_argument);
  }
}

TEST_CASE("memory stays flat however many connections come and go") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    Accepting accepting;
    accepting.listen(guest, 5);
    for (uint32_t port = 0; port < 5'000; ++port) {
      guest.send(packet(Op::request, port, 5));
      Header shutdown = packet(Op::shutdown, port, 5);
      shutdown.flags = kShutdownBoth;
      guest.send(shutdown);
      accepting.sockets.clear();
      size_t taken = 0;
      while (guest.take()) ++taken;
      CHECK_EQ(taken, 2U);
      guest.offer_receive(taken);
      // One turn of the loop is enough for a connection to go.
      static_cast<void>(co_await reactor::SleepOp::until(reactor, reactor.now_ns()));
      static_cast<void>(co_await reactor::SleepOp::until(reactor, reactor.now_ns()));
      CHECK_LE(guest.device.connections(), 4U);
    }
  });
}

}  // namespace lambdo::vsock::testing
