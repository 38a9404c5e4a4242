#include <sys/socket.h>

#include <poll.h>

#include "harness.h"
#include "reactor/operations.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

/// The smallest send buffer that the kernel grants, so that sends come out short.
static void shrink_send_buffer(int fd) {
  const int least = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
}

static Task<> send_all(Stream& stream, std::span<const std::byte> data) {
  CHECK((co_await stream.send(data, {})).has_value());
  stream.shutdown_write();
}

static Task<> receive_all(Stream& stream, std::vector<std::byte>& received) {
  while (true) {
    const Chunk chunk = (co_await stream.receive({})).value();
    if (chunk.empty()) co_return;
    received.insert(received.end(), chunk.bytes().begin(), chunk.bytes().end());
  }
}

static Task<> transfer_both_ways(Reactor& reactor) {
  auto [a, b] = socket_pair();
  shrink_send_buffer(a.get());
  shrink_send_buffer(b.get());
  SocketStream left(reactor, std::move(a));
  SocketStream right(reactor, std::move(b));
  const auto to_right = random_bytes(3'000'001, 1);
  const auto to_left = random_bytes(1'234'567, 2);
  std::vector<std::byte> at_right;
  std::vector<std::byte> at_left;
  Scope scope(reactor);
  scope.spawn(send_all(left, to_right));
  scope.spawn(send_all(right, to_left));
  scope.spawn(receive_all(left, at_left));
  scope.spawn(receive_all(right, at_right));
  co_await scope.join();
  CHECK(at_right == to_right);
  CHECK(at_left == to_left);
}

TEST_CASE("megabytes pass both ways through tiny socket buffers unchanged") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    CHECK_EQ(reactor->buffers().active(), configuration.options.provided_buffers);
    reactor->run(transfer_both_ways(*reactor));
    CHECK_EQ(reactor->buffers().lent(), 0U);
    CHECK_EQ(reactor->in_flight(), 0U);
  }
}

static Task<> fragment(Reactor& reactor, size_t split) {
  auto [a, b] = socket_pair();
  SocketStream receiver(reactor, std::move(b));
  const auto message = random_bytes(64, 9);
  const auto first = std::span(message).first(split);
  const auto rest = std::span(message).subspan(split);
  std::vector<std::byte> received;
  for (const auto part : {first, rest}) {
    if (part.empty()) continue;
    CHECK_EQ((co_await SendOp(reactor, a.get(), part)).value(), part.size());
    const Chunk chunk = (co_await receiver.receive({})).value();
    CHECK_EQ(chunk.bytes().size(), part.size());
    received.insert(received.end(), chunk.bytes().begin(), chunk.bytes().end());
  }
  CHECK(received == message);
  a.reset();
  CHECK((co_await receiver.receive({})).value().empty());
}

TEST_CASE("a message cut at any byte arrives whole, then the end") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    for (size_t split = 0; split <= 64; ++split) reactor->run(fragment(*reactor, split));
    CHECK_EQ(reactor->buffers().lent(), 0U);
  }
}

static Task<> send_short(Reactor& reactor) {
  auto [a, b] = socket_pair();
  shrink_send_buffer(a.get());
  const auto data = random_bytes(100'000, 4);
  const size_t sent = (co_await SendOp(reactor, a.get(), data)).value();
  CHECK_GT(sent, 0U);
  CHECK_LT(sent, data.size());
  std::vector<std::byte> buffer(data.size());
  const size_t received = (co_await ReceiveOp(reactor, b.get(), buffer)).value();
  CHECK_LE(received, sent);
  CHECK(std::equal(data.begin(), data.begin() + static_cast<ptrdiff_t>(received), buffer.begin()));
}

TEST_CASE("a single send into a full socket is short and says so") {
  auto reactor = make_reactor();
  reactor->run(send_short(*reactor));
}

static Task<> note_send(Stream& stream, std::span<const std::byte> data, CancelToken token,
                        Result<>& result) {
  result = co_await stream.send(data, token);
}

static Task<> stall(Reactor& reactor) {
  auto [a, b] = socket_pair();
  SocketStream sender(reactor, std::move(a));
  SocketStream receiver(reactor, std::move(b));
  CancelSource source;
  Scope scope(reactor);
  const auto data = random_bytes(10 << 20, 6);
  Result<> result;
  scope.spawn(note_send(sender, data, source.token(), result));
  co_await let_run(reactor, 10);
  source.cancel();  // the peer never reads
  co_await scope.join();
  CHECK_EQ(result.error().code, Code::cancelled);
  CHECK_EQ((co_await receiver.receive(source.token())).error().code, Code::cancelled);
  CHECK_FALSE((co_await receiver.receive({})).value().empty());
}

static Task<> lose_peer(Reactor& reactor) {
  auto [a, b] = socket_pair();
  SocketStream stream(reactor, std::move(a));
  CHECK_EQ((co_await SendOp(reactor, b.get(), as_bytes("last words"))).value(), 10U);
  CHECK((co_await stream.send(as_bytes("never read"), {})).has_value());
  b.reset();
  const Chunk last = (co_await stream.receive({})).value();
  CHECK_EQ(as_text(last.bytes()), "last words");
  CHECK_EQ((co_await stream.receive({})).error().code,
           Code::closed);  // ECONNRESET: unread data died with the peer
  CHECK_EQ((co_await stream.send(as_bytes("x"), {})).error().code, Code::closed);
}

TEST_CASE("a stream whose peer stalls can be cancelled, one whose peer is gone says closed") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    reactor->run(stall(*reactor));
    reactor->run(lose_peer(*reactor));
    CHECK_EQ(reactor->buffers().lent(), 0U);
    CHECK_EQ(reactor->in_flight(), 0U);
  }
}

}  // namespace lambdo::reactor
