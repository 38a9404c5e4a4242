#include <poll.h>

#include "harness.h"
#include "reactor/event.h"
#include "reactor/operations.h"
#include "reactor/scope.h"

#include "test.h"

/// Random schedules: a source of cancellation against the bytes that complete the operation. Whatever comes
/// first, each operation returns once, with all of its bytes or with none of them taken.
namespace lambdo::reactor {

namespace {

enum class Kind { read, receive, receive_pooled, stream };

struct Lane {
  std::pair<Fd, Fd> sockets = socket_pair();
  Kind kind{};
  unsigned char sent = 0;      // the last byte written
  unsigned char received = 0;  // the last byte read: always its predecessor's successor
  int cancelled = 0;
  int completed = 0;
};

}  // namespace

static Task<Result<Chunk>> receive_plain(Reactor& reactor, const Lane& lane, CancelToken token) {
  std::vector<std::byte> buffer(3);
  const int fd = lane.sockets.first.get();
  const size_t count = lane.kind == Kind::read ? CO_TRY(co_await ReadOp(reactor, fd, buffer, token))
                                               : CO_TRY(co_await ReceiveOp(reactor, fd, buffer, token));
  buffer.resize(count);
  co_return Chunk(std::move(buffer));
}

static Task<Result<Chunk>> receive_once(Reactor& reactor, Lane& lane, CancelToken token) {
  const int fd = lane.sockets.first.get();
  if (lane.kind == Kind::receive_pooled) co_return co_await ReceivePooledOp(reactor, fd, token);
  if (lane.kind != Kind::stream) co_return co_await receive_plain(reactor, lane, token);
  SocketStream stream(reactor, sys::dup(fd).value());
  co_return co_await stream.receive(token);
}

static void note(Lane& lane, const Result<Chunk>& chunk) {
  if (!chunk) {
    CHECK_EQ(chunk.error().code, Code::cancelled);
    ++lane.cancelled;
    return;
  }
  ++lane.completed;
  CHECK_FALSE(chunk->empty());
  for (const std::byte byte : chunk->bytes()) {
    const auto expected = static_cast<unsigned char>(lane.received + 1);
    CHECK_EQ(static_cast<unsigned char>(byte), expected);
    lane.received = expected;
  }
}

static Task<> receive_and_note(Reactor& reactor, Lane& lane, CancelToken token) {
  note(lane, co_await receive_once(reactor, lane, token));
}

static void send_byte(Lane& lane) {
  ++lane.sent;
  (void)!::write(lane.sockets.second.get(), &lane.sent, 1);
}

/// One operation, with the write and the cancellation each before it, with it, and some turns after it.
static Task<> race_once(Reactor& reactor, Lane& lane, std::mt19937& random) {
  CancelSource source;
  Scope scope(reactor);
  const unsigned write_at = random() % 6;
  const unsigned cancel_at = random() % 6;
  const bool cancel_first = random() % 2 == 0;
  const unsigned start_at = random() % 3;
  for (unsigned moment = 0; moment < 6; ++moment) {
    if (moment == start_at) scope.spawn(receive_and_note(reactor, lane, source.token()));
    if (cancel_first && moment == cancel_at) source.cancel();
    if (moment == write_at) send_byte(lane);
    if (!cancel_first && moment == cancel_at) source.cancel();
    if (random() % 3 != 0) co_await let_run(reactor);
  }
  co_await scope.join();
}

static Task<> race_lane(Reactor& reactor, Lane& lane, unsigned seed, int rounds) {
  std::mt19937 random(seed);
  for (int round = 0; round < rounds; ++round) {
    lane.kind = static_cast<Kind>(random() % (reactor.buffers().active() ? 4 : 2));
    co_await race_once(reactor, lane, random);
  }
  while (lane.received != lane.sent) note(lane, co_await receive_once(reactor, lane, {}));
}

static Task<> race_all(Reactor& reactor, std::vector<Lane>& lanes, unsigned seed) {
  Scope scope(reactor);
  for (Lane& lane : lanes) scope.spawn(race_lane(reactor, lane, seed++, 400));
  co_await scope.join();
}

TEST_CASE("cancellation races with completion: no byte is lost, none comes twice, every operation returns") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    std::vector<Lane> lanes(16);
    reactor->run(race_all(*reactor, lanes, 20240607));
    int cancelled = 0;
    int completed = 0;
    for (const Lane& lane : lanes) {
      cancelled += lane.cancelled;
      completed += lane.completed;
    }
    CHECK_GT(cancelled, 1000);
    CHECK_GT(completed, 1000);
    CHECK_EQ(reactor->in_flight(), 0U);
    CHECK_EQ(reactor->buffers().lent(), 0U);
  }
}

static Task<> wait_anyhow(Reactor& reactor, Event& event, int fd, unsigned kind, CancelToken token,
                          int& returned) {
  if (kind == 0) (void)co_await event.wait(token);
  if (kind == 1) (void)co_await PollOp(reactor, fd, POLLIN, token);
  if (kind == 2) (void)co_await SleepOp::until(reactor, reactor.now_ns() + 20'000, token);
  if (kind == 3) (void)co_await AcceptOp(reactor, fd, token);
  ++returned;
}

static Task<> storm(Reactor& reactor, std::mt19937& random, int& returned) {
  Event event(reactor);
  const Fd ready = sys::eventfd(1).value();
  const Fd silent = sys::eventfd(0).value();
  CancelSource parent;
  CancelSource child(parent.token());
  Scope scope(reactor);
  for (int i = 0; i < 20; ++i) {
    const int fd = random() % 2 == 0 ? ready.get() : silent.get();
    const CancelToken token = random() % 2 == 0 ? parent.token() : child.token();
    scope.spawn(wait_anyhow(reactor, event, fd, random() % 4, token, returned));
    if (random() % 5 == 0) event.notify_one();
    if (random() % 20 == 0) child.cancel();
    if (random() % 3 == 0) co_await let_run(reactor);
  }
  if (random() % 2 == 0) event.set();
  parent.cancel();
  co_await scope.join();
}

static Task<int> many_storms(Reactor& reactor, int count) {
  std::mt19937 random(4711);
  int returned = 0;
  for (int i = 0; i < count; ++i) co_await storm(reactor, random, returned);
  co_return returned;
}

TEST_CASE("mixed waits under a tree of sources, cancelled at random, all return") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    CHECK_EQ(reactor->run(many_storms(*reactor, 300)), 300 * 20);
    CHECK_EQ(reactor->in_flight(), 0U);
  }
}

static Task<> fill_and_cancel(Reactor& reactor) {
  auto [a, b] = socket_pair();
  const std::vector<std::byte> data = random_bytes(1 << 20, 3);
  size_t accepted = 0;
  // What a cancelled send has taken is reported, or it took nothing.
  for (int64_t i = 0; i < 50; ++i) {
    Deadline deadline(reactor, reactor.now_ns() + i * 2000);
    const auto count = co_await SendOp(reactor, a.get(), std::span(data).subspan(accepted), deadline.token());
    if (count) accepted += *count;
    if (!count) CHECK_EQ(count.error().code, Code::cancelled);
  }
  a.reset();
  std::vector<std::byte> arrived(data.size());
  size_t total = 0;
  while (const size_t count =
             (co_await ReceiveOp(reactor, b.get(), std::span(arrived).subspan(total))).value()) {
    total += count;
  }
  CHECK_EQ(total, accepted);
  CHECK(std::equal(data.begin(), data.begin() + static_cast<ptrdiff_t>(total), arrived.begin()));
}

TEST_CASE("a send cancelled half-way tells how much it sent") {
  auto reactor = make_reactor();
  reactor->run(fill_and_cancel(*reactor));
}

}  // namespace lambdo::reactor
