// Many bytes: intact, in order, within credit.

#include <random>

#include "harness.h"
#include "reactor/operations.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::vsock::testing {

static constexpr uint32_t kGuestPort = 1234;
static constexpr uint32_t kHostPort = 5;

/// The byte at a position of the stream.
static std::byte byte_at(uint64_t position) {
  return static_cast<std::byte>((position * 0x9e3779b97f4a7c15) >> 56);
}

/// What Linux's driver does, for one connection whose program echoes: sends within credit, tells what it
/// consumed, keeps receive buffers on offer.
class EchoProgram {
 public:
  EchoProgram(Guest& guest, uint32_t buffer_bytes) : guest_(guest), buffer_bytes_(buffer_bytes) {}

  bool has_ended() const { return has_ended_; }
  bool was_within_credit() const { return was_within_credit_; }

  /// One round of work.
  void step() {
    size_t taken = 0;
    while (const auto packet = guest_.take()) {
      ++taken;
      handle(*packet);
    }
    if (taken > 0) {
      for (size_t i = 0; i < taken; ++i) guest_.offer_receive(1, 1 + kHeaderBytes + random_() % 9000, 2);
      guest_.kick_receive();
    }
    echo();
    guest_.mmio.notify(Vsock::kTxQueue);
    while (guest_.transmit.take_used()) continue;
    guest_.transport.resume();
  }

 private:
  void handle(const Packet& packet) {
    host_forwarded_ = packet.header.fwd_cnt;
    host_buffer_bytes_ = packet.header.buf_alloc;
    if (packet.is(Op::data)) {
      pending_.insert(pending_.end(), packet.payload.begin(), packet.payload.end());
      if (pending_.size() > buffer_bytes_) was_within_credit_ = false;
    }
    if (packet.is(Op::credit_request)) put(Op::credit_update, {});
    if (packet.is(Op::shutdown)) host_ended_ = true;
  }

  void echo() {
    std::vector<std::byte> part;
    while (!pending_.empty() && guest_.transmit.free_descriptors() > 10) {
      const uint32_t credit = host_buffer_bytes_ - (sent_ - host_forwarded_);
      const size_t limit =
          std::min<size_t>({pending_.size(), credit, random_() % 4 == 0 ? 65536 : 1 + random_() % 3000});
      if (limit == 0) return;
      part.assign(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(limit));
      pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(limit));
      sent_ += static_cast<uint32_t>(limit);
      forwarded_ += static_cast<uint32_t>(limit);
      put(Op::data, part);
      owes_update_ = true;
    }
    if (owes_update_ && pending_.empty()) {
      put(Op::credit_update, {});
      owes_update_ = false;
    }
    if (host_ended_ && pending_.empty() && !has_ended_) {
      put(Op::shutdown, {});
      has_ended_ = true;
    }
  }

  void put(Op op, std::span<const std::byte> payload) {
    Header header = packet(op, kGuestPort, kHostPort);
    header.len_bytes = static_cast<uint32_t>(payload.size());
    header.buf_alloc = buffer_bytes_;
    header.fwd_cnt = forwarded_;
    if (op == Op::shutdown) header.flags = kShutdownSend;
    guest_.put(header, payload);
  }

  Guest& guest_;
  uint32_t buffer_bytes_;
  std::minstd_rand random_{7};
  std::deque<std::byte> pending_;
  uint32_t sent_ = 0;
  uint32_t forwarded_ = 0;
  uint32_t host_forwarded_ = 0;
  uint32_t host_buffer_bytes_ = 256 << 10;
  bool host_ended_ = false;
  bool owes_update_ = false;
  bool has_ended_ = false;
  bool was_within_credit_ = true;
};

static Task<> run_program(Reactor& reactor, EchoProgram& program, const bool& done) {
  while (!done) {
    program.step();
    static_cast<void>(co_await reactor::SleepOp::until(reactor, reactor.now_ns()));
  }
}

static Task<> write_all(Reactor& reactor, int socket, uint64_t total_bytes) {
  std::minstd_rand random(1);
  std::vector<std::byte> block;
  for (uint64_t at = 0; at < total_bytes;) {
    block.resize(std::min<uint64_t>(total_bytes - at, random() % 8 == 0 ? 200'000 : 1 + random() % 20'000));
    for (size_t i = 0; i < block.size(); ++i) block[i] = byte_at(at + i);
    const auto sent = co_await reactor::SendOp(reactor, socket, block);
    CHECK(sent.has_value());
    if (!sent) co_return;
    at += *sent;
  }
  ::shutdown(socket, SHUT_WR);
}

/// Reads to the end; returns how many bytes came as they were sent before the first that did not.
static Task<uint64_t> read_all(Reactor& reactor, int socket) {
  std::minstd_rand random(2);
  std::vector<std::byte> block(100'000);
  uint64_t at = 0;
  while (true) {
    // Now and then so slow that the device's buffer fills.
    if (random() % 64 == 0) static_cast<void>(co_await reactor::SleepOp::for_ms(reactor, 1));
    const auto got =
        co_await reactor::ReceiveOp(reactor, socket, std::span(block).first(1 + random() % block.size()));
    if (!got || *got == 0) co_return at;
    for (size_t i = 0; i < *got; ++i, ++at) {
      if (block[i] != byte_at(at)) co_return at;
    }
  }
}

static Task<> echo(Reactor& reactor, Guest& guest, uint64_t total_bytes, uint32_t guest_buffer_bytes) {
  const Fd socket = open_connection(guest, kGuestPort, kHostPort, guest_buffer_bytes);
  EchoProgram program(guest, guest_buffer_bytes);
  bool done = false;
  reactor::Scope scope(reactor);
  scope.spawn(run_program(reactor, program, done));
  scope.spawn(write_all(reactor, socket.get(), total_bytes));
  CHECK_EQ(co_await read_all(reactor, socket.get()), total_bytes);
  // Where bytes were lost, nobody waits for the rest.
  ::shutdown(socket.get(), SHUT_RDWR);
  done = true;
  co_await scope.join();
  CHECK(program.was_within_credit());
  CHECK(program.has_ended());
  CHECK_FALSE(guest.has_failed());
}

TEST_CASE("64 MiB pass both ways intact, in fragments of all sizes, to a slow reader") {
  with_guest(
      [](Reactor& reactor, Guest& guest) -> Task<> { co_await echo(reactor, guest, 64 << 20, 256 << 10); });
}

TEST_CASE("a guest with a small buffer gets no more than it holds, and everything in the end") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> { co_await echo(reactor, guest, 1 << 20, 1000); });
}

TEST_CASE("a device with a small buffer still passes everything") {
  with_guest(
      [](Reactor& reactor, Guest& guest) -> Task<> { co_await echo(reactor, guest, 1 << 20, 64 << 10); },
      {.buffer_bytes = 3000});
}

TEST_CASE("a host that does not read holds up its own connection only, within its credit") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd slow = open_connection(guest, 1, 5);
    const Fd quick = open_connection(guest, 2, 5);
    const std::string block(50'000, 'x');
    // Until the socket and the device's buffer are full: all credit used, none given back.
    uint32_t sent = 0;
    uint32_t forwarded = 0;
    while (true) {
      const uint32_t room = (256 << 10) - (sent - forwarded);
      const auto part = std::min<uint32_t>(room, 50'000);
      if (part == 0) break;
      sent += part;
      guest.send(data_packet(1, 5, part), bytes_of(std::string_view(block).substr(0, part)));
      while (const auto update = guest.take()) {
        guest.offer_receive(1);
        forwarded = update->header.fwd_cnt;
      }
    }
    CHECK_EQ(sent - forwarded, 256U << 10);
    guest.send(data_packet(2, 5, 5), bytes_of("quick"));
    CHECK_EQ(read_now(quick), "quick");

    // Reading gives the credit back, and nothing was lost.
    size_t read = 0;
    CHECK(co_await eventually(reactor, [&] { return (read += read_now(slow).size()) == sent; }));
    std::optional<Packet> update;
    uint32_t last = forwarded;
    CHECK(co_await eventually(reactor, [&] {
      while ((update = guest.take())) last = update->header.fwd_cnt;
      return sent - last <= 128U << 10;
    }));
    // One byte too many is answered by a reset.
    guest.send(data_packet(2, 5, 5), bytes_of("again"));
    CHECK_EQ(read_now(quick), "again");
  });
}

TEST_CASE("more than the credit given resets the connection") {
  with_guest(
      [](Reactor& reactor, Guest& guest) -> Task<> {
        const Fd socket = open_connection(guest, 1, 5);
        // The socket takes some 200 KiB, then the buffer holds 1000 bytes.
        const std::string block(1000, 'x');
        bool reset = false;
        size_t packets = 0;
        for (; packets < 10'000 && !reset; ++packets) {
          guest.send(data_packet(1, 5, 1000), bytes_of(block));
          while (const auto answer = guest.take()) {
            guest.offer_receive(1);
            reset = answer->is(Op::reset);
          }
        }
        CHECK(reset);
        // What was taken before still arrives.
        size_t read = 0;
        CHECK(co_await eventually(reactor,
                                  [&] { return (read += read_now(socket).size()) == (packets - 1) * 1000; }));
        CHECK(co_await eventually(reactor, [&] { return guest.device.connections() == 0; }));
      },
      {.buffer_bytes = 1000});
}

TEST_CASE("without receive buffers nothing is read from the host, and with them everything follows") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5);
    // 15 are left of the 16.
    for (int i = 0; i < 15; ++i) {
      write_now(socket, "x");
      CHECK((co_await next_packet(reactor, guest)).has_value());
    }
    write_now(socket, "late");
    for (int i = 0; i < 20; ++i)
      static_cast<void>(co_await reactor::SleepOp::until(reactor, reactor.now_ns()));
    CHECK_FALSE(guest.take().has_value());
    guest.offer_receive(1);
    guest.kick_receive();
    const auto packet = co_await next_packet(reactor, guest);
    REQUIRE(packet.has_value());
    CHECK(std::ranges::equal(packet->payload, bytes_of("late")));
  });
}

TEST_CASE("a stalled sender asks for credit once") {
  with_guest([](Reactor& reactor, Guest& guest) -> Task<> {
    const Fd socket = open_connection(guest, 1, 5, 10);
    write_now(socket, "0123456789abcdef");
    const auto first = co_await next_packet(reactor, guest);
    REQUIRE(first.has_value());
    CHECK_EQ(first->payload.size(), 10U);
    const auto request = co_await next_packet(reactor, guest);
    REQUIRE(request.has_value());
    CHECK(request->is(Op::credit_request));
    Header update = packet(Op::credit_update, 1, 5);
    update.buf_alloc = 10;
    guest.send(update);
    CHECK_FALSE(guest.take().has_value());
    update.fwd_cnt = 10;
    guest.send(update);
    const auto rest = co_await next_packet(reactor, guest);
    REQUIRE(rest.has_value());
    CHECK(std::ranges::equal(rest->payload, bytes_of("abcdef")));
  });
}

}  // namespace lambdo::vsock::testing
