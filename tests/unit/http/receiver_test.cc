#include "http/server/receiver.h"

#include <sys/socket.h>

#include "base/syscalls.h"
#include "reactor/timer.h"

#include "test.h"

namespace lambdo::http {

using reactor::Reactor;
using reactor::Task;

static constexpr size_t kCapacityBytes = 1000;

/// Sends `text` from the other end, waits until so many bytes of it are there or the end, and takes them.
static Task<> wait_for_bytes(Receiver& receiver, size_t len_bytes) {
  while (receiver.data().size() < len_bytes && !receiver.ended()) (void)co_await receiver.changed().wait();
}

struct Pair {
  Pair() {
    auto ends = sys::socketpair(SOCK_STREAM);
    REQUIRE(ends);
    ours = std::move(ends->first);
    theirs = std::move(ends->second);
  }
  void send(const std::string& text) {
    REQUIRE(::send(theirs.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  }
  Fd ours;
  Fd theirs;
};

static Task<> fill_and_drain(Reactor& reactor, Pair& pair, uint64_t& bytes_in) {
  Receiver receiver(reactor, pair.ours.get(), kCapacityBytes, bytes_in);
  receiver.start();
  std::string expected;
  std::string got;
  for (int round = 0; round < 20; ++round) {
    // More than fits, in pieces, so that the receiver stops and starts again.
    for (int piece = 0; piece < 10; ++piece) {
      const std::string text(300, static_cast<char>('a' + (round + piece) % 26));
      pair.send(text);
      expected += text;
      if (piece % 3 == 0) (void)co_await reactor::SleepOp::for_ms(reactor, 1);
    }
    while (got.size() < expected.size()) {
      co_await wait_for_bytes(receiver, 1);
      const size_t part = std::min<size_t>(receiver.data().size(), 70);
      got += receiver.data().substr(0, part);
      receiver.consume(part);
    }
  }
  CHECK(got == expected);
  co_await receiver.stop();
}

TEST_CASE("bytes come whole and in order through a receiver that is full again and again") {
  for (const bool provided : {true, false}) {
    auto reactor = Reactor::create({.provided_buffers = provided});
    REQUIRE(reactor);
    Pair pair;
    uint64_t bytes_in = 0;
    (*reactor)->run(fill_and_drain(**reactor, pair, bytes_in));
    CHECK(bytes_in == 20 * 10 * 300);
  }
}

static Task<> overfill(Reactor& reactor, Pair& pair, uint64_t& bytes_in) {
  Receiver receiver(reactor, pair.ours.get(), kCapacityBytes, bytes_in);
  receiver.start();
  pair.send(std::string(2000, 'x'));
  co_await wait_for_bytes(receiver, 2000);
  // It has stopped by the time what comes now could be received.
  (void)co_await reactor::SleepOp::for_ms(reactor, 5);
  pair.send(std::string(500, 'y'));
  (void)co_await reactor::SleepOp::for_ms(reactor, 20);
  CHECK(receiver.data().size() == 2000);

  reactor::CancelSource gone;
  receiver.cancel_when_gone(&gone);
  CHECK_FALSE(gone.cancelled());
  pair.theirs.reset();
  while (!gone.cancelled()) (void)co_await receiver.changed().wait();
  CHECK_FALSE(receiver.ended());
  receiver.cancel_when_gone(nullptr);

  receiver.consume(2000);
  while (!receiver.ended()) (void)co_await receiver.changed().wait();
  CHECK(receiver.data() == std::string(500, 'y'));
  co_await receiver.stop();
}

TEST_CASE("a full receiver reads no more, notices the peer hanging up, and delivers the rest afterwards") {
  for (const bool provided : {true, false}) {
    auto reactor = Reactor::create({.provided_buffers = provided});
    REQUIRE(reactor);
    Pair pair;
    uint64_t bytes_in = 0;
    (*reactor)->run(overfill(**reactor, pair, bytes_in));
  }
}

static Task<> receive_without_pool(Reactor& reactor, Pair& pair, uint64_t& bytes_in) {
  // Somebody else holds every buffer of the pool.
  Pair other;
  std::vector<reactor::Chunk> held;
  for (unsigned i = 0; i < reactor::BufferPool::kCount; ++i) {
    other.send("x");
    auto chunk = co_await reactor::ReceivePooledOp(reactor, other.ours.get());
    if (!chunk) break;
    held.push_back(std::move(*chunk));
  }
  CHECK(held.size() == reactor::BufferPool::kCount);
  Receiver receiver(reactor, pair.ours.get(), kCapacityBytes, bytes_in);
  receiver.start();
  for (const char* text : {"one", "two"}) {
    pair.send(text);
    co_await wait_for_bytes(receiver, 3);
    CHECK(receiver.data() == text);
    receiver.consume(3);
  }
  co_await receiver.stop();
}

TEST_CASE("a receiver goes on while the reactor's buffers are all lent") {
  auto reactor = Reactor::create();
  REQUIRE(reactor);
  if (!(*reactor)->buffers().active()) return;
  Pair pair;
  uint64_t bytes_in = 0;
  (*reactor)->run(receive_without_pool(**reactor, pair, bytes_in));
  CHECK(bytes_in == 6);
}

}  // namespace lambdo::http
