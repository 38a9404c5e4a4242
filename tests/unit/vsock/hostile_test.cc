// What a guest can do wrong, and what it gets for it.

#include <random>

#include "harness.h"

#include "test.h"

namespace lambdo::vsock::testing {

/// What the device makes of a packet on an open connection.
enum class Outcome { ignored, reset, kept };

struct Row {
  const char* what;
  Op op;
  uint32_t payload_bytes;
  void (*change)(Header&);
  Outcome outcome;
};

static constexpr Row kRows[] = {
    {"valid data", Op::data, 5, [](Header&) {}, Outcome::kept},
    {"empty data", Op::data, 0, [](Header&) {}, Outcome::kept},
    {"payload beyond the length", Op::data, 50, [](Header& header) { header.len_bytes = 5; }, Outcome::kept},
    {"length beyond the payload", Op::data, 5, [](Header& header) { header.len_bytes = 6; }, Outcome::reset},
    {"length without payload", Op::credit_update, 0, [](Header& header) { header.len_bytes = 1; },
     Outcome::reset},
    {"longest length", Op::data, 5, [](Header& header) { header.len_bytes = UINT32_MAX; }, Outcome::reset},
    {"another guest", Op::data, 5, [](Header& header) { header.src_cid = 9; }, Outcome::ignored},
    {"another host", Op::data, 5, [](Header& header) { header.dst_cid = 1; }, Outcome::ignored},
    {"no operation", Op::data, 5, [](Header& header) { header.op = 0; }, Outcome::reset},
    {"unknown operation", Op::data, 5, [](Header& header) { header.op = 8; }, Outcome::reset},
    {"second request", Op::request, 0, [](Header&) {}, Outcome::reset},
    {"response to nothing", Op::response, 0, [](Header&) {}, Outcome::reset},
    {"shutdown of nothing", Op::shutdown, 0, [](Header& header) { header.flags = 0xfffffffc; },
     Outcome::kept},
    {"flags on data", Op::data, 5, [](Header& header) { header.flags = UINT32_MAX; }, Outcome::kept},
    {"no buffer", Op::credit_update, 0, [](Header& header) { header.buf_alloc = 0; }, Outcome::kept},
    {"forwarded what never came", Op::credit_update, 0, [](Header& header) { header.fwd_cnt = 1U << 31; },
     Outcome::kept},
};

/// Sends the packet of `row` on an open connection.
static Task<> try_row(Guest& guest, const Row& row) {
  const Fd socket = open_connection(guest, 1, 5);
  const std::string payload(row.payload_bytes, 'x');
  Header header = packet(row.op, 1, 5);
  header.len_bytes = row.payload_bytes;
  row.change(header);
  guest.send(header, bytes_of(payload));
  const auto answer = guest.take();
  CHECK_EQ(answer.has_value(), row.outcome == Outcome::reset);
  if (answer) CHECK(answer->is(Op::reset));
  const bool kept_data = row.outcome == Outcome::kept && row.op == Op::data;
  CHECK_EQ(read_now(socket).size(), kept_data ? header.len_bytes : 0);
  CHECK_EQ(guest.has_failed(), false);
  // Otherwise it goes on as if nothing had been.
  if (row.outcome != Outcome::reset) {
    guest.send(data_packet(1, 5, 2), bytes_of("ok"));
    CHECK_EQ(read_now(socket), "ok");
  }
  co_return;
}

TEST_CASE("every field of a packet can be wrong on an open connection") {
  for (const Row& row : kRows) {
    CAPTURE(row.what);
    with_guest([&row](Reactor&, Guest& guest) { return try_row(guest, row); });
  }
}

TEST_CASE("packets without a connection are answered by a reset, resets by nothing") {
  with_guest([](Reactor&, Guest& guest) -> Task<> {
    for (uint16_t op = 0; op < 10; ++op) {
      CAPTURE(op);
      Header header = packet(Op::reset, 1, 5);
      header.op = op;
      guest.send(header);
      const auto answer = guest.take();
      CHECK_EQ(answer.has_value(), op != static_cast<uint16_t>(Op::reset));
      if (answer) {
        CHECK(answer->is(Op::reset));
        guest.offer_receive(1);
      }
    }
    co_return;
  });
}

TEST_CASE("a packet of another type is refused in its type and leaves the connection alone") {
  with_guest([](Reactor&, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    Header header = packet(Op::shutdown, 1, 5);
    header.flags = kShutdownBoth;
    header.type = 2;
    guest.send(header);
    const auto answer = guest.take();
    REQUIRE(answer.has_value());
    CHECK(answer->is(Op::reset));
    CHECK_EQ(answer->header.type, 2);
    guest.send(data_packet(1, 5, 2), bytes_of("ok"));
    CHECK_EQ(read_now(socket), "ok");
    co_return;
  });
}

TEST_CASE("chains that are too short for a header are given back") {
  with_guest([](Reactor&, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    guest.transmit.add({{Guest::kPackets, kHeaderBytes - 1, false}});
    guest.transmit.add({{Guest::kPackets, kHeaderBytes, true}});
    guest.transmit.add({{Guest::kPackets, 0, false}});
    guest.mmio.notify(Vsock::kTxQueue);
    for (int i = 0; i < 3; ++i) CHECK(guest.transmit.take_used().has_value());
    CHECK_FALSE(guest.take().has_value());
    CHECK_FALSE(guest.has_failed());
    co_return;
  });
}

TEST_CASE("receive buffers without room for a byte are given back empty") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    // The good ones first.
    for (int i = 0; i < 15; ++i) {
      guest.send(packet(Op::credit_request, 1, 5));
      CHECK(guest.take().has_value());
    }
    guest.offer_receive(3, kHeaderBytes, 1);
    guest.receive.add({{Guest::kReceive, 8192, false}});
    guest.offer_receive(1, kHeaderBytes + 1);
    guest.kick_receive();
    write_now(socket, "ab");
    for (int i = 0; i < 3; ++i) CHECK_EQ((co_await next_packet(reactor, guest))->header.op, 0);
    CHECK_EQ(guest.receive.take_used()->len_bytes, 0U);
    const auto packet = co_await next_packet(reactor, guest);
    REQUIRE(packet.has_value());
    CHECK(std::ranges::equal(packet->payload, bytes_of("a")));
    CHECK_FALSE(guest.has_failed());
  });
}

TEST_CASE("a broken queue fails the device, and a reset starts it anew") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    guest.receive.set_avail_index(static_cast<uint16_t>(guest.receive.avail_index() + 100));
    write_now(socket, "x");
    CHECK(co_await eventually(reactor, [&] { return guest.has_failed(); }));
    CHECK_EQ(guest.host.failures, 1);
    guest.mmio.write(0x70, 0);
    bool ended = false;
    CHECK(co_await eventually(reactor, [&] {
      read_now(socket, &ended);
      return ended;
    }));
    CHECK(co_await eventually(reactor, [&] { return guest.device.connections() == 0; }));
  });
}

TEST_CASE("ten thousand attempts take no memory and get their resets as far as there is room for them") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    Accepting accepting;
    accepting.listen(guest, 5);
    for (uint32_t port = 0; port < 10'000; ++port) guest.send(packet(Op::request, port, 5));
    CHECK_EQ(guest.device.connections(), VsockOptions{}.max_connections);
    CHECK_EQ(accepting.sockets.size(), VsockOptions{}.max_connections);
    size_t resets = 0;
    for (int round = 0; round < 100; ++round) {
      size_t taken = 0;
      while (const auto answer = guest.take()) {
        ++taken;
        if (answer->is(Op::reset)) ++resets;
      }
      guest.offer_receive(taken);
      guest.kick_receive();
      while (guest.transport.has_work()) guest.transport.resume();
    }
    // 16 buffers and the queue of resets: the rest was lost to a guest that took nothing.
    CHECK_GE(resets, ResetQueue::kMaxResets);
    CHECK_LE(resets, ResetQueue::kMaxResets + 16);
    CHECK_FALSE(guest.has_failed());
    co_return static_cast<void>(reactor);
  });
}

TEST_CASE("kicks without reason do nothing") {
  with_guest([](Reactor&, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    const int before = guest.host.interrupts;
    for (int i = 0; i < 100'000; ++i) guest.mmio.notify(static_cast<uint32_t>(i % 5));
    CHECK_EQ(guest.host.interrupts, before);
    guest.send(data_packet(1, 5, 2), bytes_of("ok"));
    CHECK_EQ(read_now(socket), "ok");
    co_return;
  });
}

}  // namespace lambdo::vsock::testing
