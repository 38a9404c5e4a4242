#include "vsock/device.h"

#include "harness.h"

#include "test.h"

namespace lambdo::vsock::testing {

TEST_CASE("a guest's connection arrives at the listener, and bytes pass both ways") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    Accepting accepting;
    accepting.listen(guest, 50051);
    guest.send(packet(Op::request, 1234, 50051));
    REQUIRE_EQ(accepting.sockets.size(), 1U);
    CHECK_EQ(accepting.peer_ports.front(), 1234U);
    const auto response = guest.take();
    REQUIRE(response.has_value());
    CHECK(response->is(Op::response));
    CHECK_EQ(response->header.src_cid, kHostCid);
    CHECK_EQ(response->header.dst_cid, Guest::kCid);
    CHECK_EQ(response->header.src_port, 50051U);
    CHECK_EQ(response->header.dst_port, 1234U);
    CHECK_EQ(response->header.buf_alloc, 256U << 10);

    guest.send(data_packet(1234, 50051, 5), bytes_of("hello"));
    CHECK_EQ(read_now(accepting.sockets.front()), "hello");
    CHECK_EQ(write_now(accepting.sockets.front(), "answer"), 6U);
    const auto answer = co_await next_packet(reactor, guest);
    REQUIRE(answer.has_value());
    CHECK(answer->is(Op::data));
    CHECK(std::ranges::equal(answer->payload, bytes_of("answer")));
    CHECK_EQ(answer->header.fwd_cnt, 5U);
  });
}

static Task<> dial(Guest& guest, uint32_t port, reactor::CancelToken token,
                   std::optional<Result<Fd>>& result) {
  result.emplace(co_await guest.device.connect(port, token));
}

TEST_CASE("the host dials a port of the guest's") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    reactor::Scope scope(reactor);
    std::optional<Result<Fd>> result;
    scope.spawn(dial(guest, 7, {}, result));
    const auto request = co_await next_packet(reactor, guest);
    REQUIRE(request.has_value());
    CHECK(request->is(Op::request));
    CHECK_EQ(request->header.dst_port, 7U);
    guest.send(packet(Op::response, 7, request->header.src_port));
    co_await scope.join();
    REQUIRE(result.has_value());
    REQUIRE(result->has_value());
    const Fd& socket = **result;
    guest.send(data_packet(7, request->header.src_port, 4), bytes_of("ping"));
    CHECK_EQ(read_now(socket), "ping");
    write_now(socket, "pong");
    const auto pong = co_await next_packet(reactor, guest);
    REQUIRE(pong.has_value());
    CHECK(std::ranges::equal(pong->payload, bytes_of("pong")));
  });
}

TEST_CASE("a call that the guest refuses is closed, and one that is cancelled is reset") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    reactor::Scope scope(reactor);
    reactor::CancelSource source;
    std::optional<Result<Fd>> refused;
    scope.spawn(dial(guest, 7, {}, refused));
    auto request = co_await next_packet(reactor, guest);
    REQUIRE(request.has_value());
    guest.send(packet(Op::reset, 7, request->header.src_port));
    co_await scope.join();
    REQUIRE(refused.has_value());
    CHECK(refused->error().code == Code::closed);

    std::optional<Result<Fd>> cancelled;
    scope.spawn(dial(guest, 8, source.token(), cancelled));
    request = co_await next_packet(reactor, guest);
    REQUIRE(request.has_value());
    source.cancel();
    co_await scope.join();
    REQUIRE(cancelled.has_value());
    CHECK(cancelled->error().code == Code::cancelled);
    const auto reset = co_await next_packet(reactor, guest);
    REQUIRE(reset.has_value());
    CHECK(reset->is(Op::reset));
    CHECK_EQ(reset->header.src_port, request->header.src_port);
    // The late answer finds nothing.
    guest.send(packet(Op::response, 8, request->header.src_port));
    const auto late = guest.take();
    REQUIRE(late.has_value());
    CHECK(late->is(Op::reset));
  });
}

TEST_CASE("without a running driver a call is closed at once") {
  auto reactor = Reactor::create();
  REQUIRE(reactor.has_value());
  Guest guest(**reactor);
  const auto result = (*reactor)->run(guest.device.connect(7, {}));
  CHECK(result.error().code == Code::closed);
}

TEST_CASE("ports that nobody listens on, and connections beyond the limit, are refused") {
  with_guest(
      [](Reactor&, Guest& guest) -> Task<> {
        guest.send(packet(Op::request, 1, 99));
        const auto refused = guest.take();
        REQUIRE(refused.has_value());
        CHECK(refused->is(Op::reset));
        CHECK_EQ(refused->header.src_port, 99U);
        CHECK_EQ(refused->header.dst_port, 1U);

        Accepting accepting;
        accepting.listen(guest, 5);
        for (uint32_t port = 1; port <= 3; ++port) {
          guest.send(packet(Op::request, port, 5));
          const auto answer = guest.take();
          REQUIRE(answer.has_value());
          CHECK(answer->is(port <= 2 ? Op::response : Op::reset));
        }
        CHECK_EQ(accepting.sockets.size(), 2U);
        CHECK((co_await guest.device.connect(7, {})).error().code == Code::resource_exhausted);
      },
      {.max_connections = 2});
}

TEST_CASE("a listener may close its port while it runs") {
  with_guest([](Reactor&, Guest& guest) -> Task<> {
    int accepted = 0;
    guest.device.listen(5, [&](Fd, uint32_t) {
      ++accepted;
      guest.device.listen(5, nullptr);
    });
    guest.send(packet(Op::request, 1, 5));
    guest.send(packet(Op::request, 2, 5));
    CHECK_EQ(accepted, 1);
    co_return;
  });
}

TEST_CASE("what the guest sends after its host closed is discarded until it closes too") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    Fd socket = open_connection(guest, 1, 5);
    write_now(socket, "last");
    socket.reset();
    const auto last = co_await next_packet(reactor, guest);
    REQUIRE(last.has_value());
    CHECK(std::ranges::equal(last->payload, bytes_of("last")));
    auto shutdown = co_await next_packet(reactor, guest);
    REQUIRE(shutdown.has_value());
    CHECK(shutdown->is(Op::shutdown));
    CHECK_EQ(shutdown->header.flags, kShutdownBoth);
    guest.send(data_packet(1, 5, 3), bytes_of("abc"));
    CHECK_FALSE(guest.take().has_value());
    guest.send(packet(Op::reset, 1, 5));
    CHECK(co_await eventually(reactor, [&] { return guest.device.connections() == 0; }));
  });
}

TEST_CASE("the host's half-close is a shutdown, and the other direction goes on") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    ::shutdown(socket.get(), SHUT_WR);
    const auto shutdown = co_await next_packet(reactor, guest);
    REQUIRE(shutdown.has_value());
    CHECK(shutdown->is(Op::shutdown));
    CHECK_EQ(shutdown->header.flags, kShutdownSend);
    guest.send(data_packet(1, 5, 4), bytes_of("more"));
    CHECK_EQ(read_now(socket), "more");
    // No longer reading either: told when the guest sends.
    ::shutdown(socket.get(), SHUT_RD);
    guest.send(data_packet(1, 5, 4), bytes_of("lost"));
    const auto both = co_await next_packet(reactor, guest);
    REQUIRE(both.has_value());
    CHECK(both->is(Op::shutdown));
    CHECK_EQ(both->header.flags, kShutdownBoth);
  });
}

TEST_CASE("the guest's half-close ends one direction of the socket") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    guest.send(data_packet(1, 5, 4), bytes_of("last"));
    Header shutdown = packet(Op::shutdown, 1, 5);
    shutdown.flags = kShutdownSend;
    guest.send(shutdown);
    bool ended = false;
    CHECK_EQ(read_now(socket, &ended), "last");
    CHECK(ended);
    write_now(socket, "answer");
    const auto answer = co_await next_packet(reactor, guest);
    REQUIRE(answer.has_value());
    CHECK(answer->is(Op::data));

    shutdown.flags = kShutdownReceive;
    guest.send(shutdown);
    // Both by now: the guest waits for the reset.
    const auto reset = guest.take();
    REQUIRE(reset.has_value());
    CHECK(reset->is(Op::reset));
    CHECK_EQ(write_now(socket, "nobody"), 0U);
    CHECK(co_await eventually(reactor, [&] { return guest.device.connections() == 0; }));
  });
}

TEST_CASE("a guest that reads no more makes the host's writes fail") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    Header shutdown = packet(Op::shutdown, 1, 5);
    shutdown.flags = kShutdownReceive;
    guest.send(shutdown);
    CHECK_EQ(write_now(socket, "x"), 0U);
    CHECK_EQ(errno, EPIPE);
    guest.send(data_packet(1, 5, 4), bytes_of("more"));
    CHECK_EQ(read_now(socket), "more");
    CHECK_EQ(guest.device.connections(), 1U);
    static_cast<void>(reactor);
    co_return;
  });
}

TEST_CASE("the configuration space holds the guest's CID") {
  with_guest([](Reactor&, Guest& guest) -> Task<> {
    CHECK_EQ(guest.mmio.read(0x100), 3U);
    CHECK_EQ(guest.mmio.read(0x104), 0U);
    CHECK_EQ(guest.mmio.read(0x008), 19U);
    co_return;
  });
}

}  // namespace lambdo::vsock::testing
