#include "reactor/buffer_pool.h"

#include <cerrno>
#include <deque>

#include "harness.h"
#include "reactor/operations.h"

#include "test.h"

namespace lambdo::reactor {

static Task<> exhaust(Reactor& reactor) {
  auto [a, b] = socket_pair();
  SocketStream receiver(reactor, std::move(b));
  std::vector<Chunk> held;
  for (unsigned i = 0; i < BufferPool::kCount + 50; ++i) {
    const auto byte = static_cast<char>(i % 251);
    CHECK_EQ((co_await SendOp(reactor, a.get(), as_bytes({&byte, 1}))).value(), 1U);
    held.push_back((co_await receiver.receive({})).value());
  }
  CHECK_EQ(reactor.buffers().lent(), BufferPool::kCount);
  const auto none = co_await ReceivePooledOp(reactor, receiver.fd());
  CHECK_EQ(none.error().code, Code::resource_exhausted);
  CHECK_EQ(none.error().os_errno, ENOBUFS);
  for (unsigned i = 0; i < held.size(); ++i) {
    CHECK_EQ(held[i].bytes().size(), 1U);
    CHECK_EQ(static_cast<unsigned>(held[i].bytes()[0]), i % 251);
  }
  held.clear();
  CHECK_EQ(reactor.buffers().lent(), 0U);
  CHECK_EQ((co_await SendOp(reactor, a.get(), as_bytes("again"))).value(), 5U);
  const Chunk chunk = (co_await ReceivePooledOp(reactor, receiver.fd())).value();
  CHECK_EQ(as_text(chunk.bytes()), "again");
}

TEST_CASE("with all pooled buffers lent, streams receive into their own, and lose nothing") {
  auto reactor = make_reactor();
  REQUIRE(reactor->buffers().active());
  reactor->run(exhaust(*reactor));
  CHECK_EQ(reactor->buffers().lent(), 0U);
}

static Task<> recycle(Reactor& reactor) {
  auto [a, b] = socket_pair();
  SocketStream receiver(reactor, std::move(b));
  std::mt19937 random(5);
  std::deque<std::pair<int, Chunk>> held;
  for (int i = 0; i < 5000; ++i) {
    CHECK_EQ((co_await SendOp(reactor, a.get(), std::as_bytes(std::span(&i, 1)))).value(), sizeof i);
    held.emplace_back(i, (co_await receiver.receive({})).value());
    while (!held.empty() && random() % 250 != 0) {  // now and then more are held than the pool has
      const size_t at = random() % held.size();
      int number = -1;
      CHECK_EQ(held[at].second.bytes().size(), sizeof number);
      std::ranges::copy(held[at].second.bytes(), std::as_writable_bytes(std::span(&number, 1)).begin());
      CHECK_EQ(number, held[at].first);
      if (random() % 2 == 0) std::swap(held[at], held.back());
      held.erase(held.begin() + static_cast<ptrdiff_t>(random() % held.size()));
      if (held.size() < 300) break;
    }
  }
}

TEST_CASE("buffers go round thousands of times, in any order, and no lent one is written to") {
  auto reactor = make_reactor();
  reactor->run(recycle(*reactor));
  CHECK_EQ(reactor->buffers().lent(), 0U);
}

static Task<> move_chunks(Reactor& reactor) {
  auto [a, b] = socket_pair();
  std::array<Chunk, 2> chunks;
  for (Chunk& chunk : chunks) {
    CHECK_EQ((co_await SendOp(reactor, a.get(), as_bytes("data"))).value(), 4U);
    chunk = (co_await ReceivePooledOp(reactor, b.get())).value();
  }
  CHECK_EQ(reactor.buffers().lent(), 2U);
  Chunk moved(std::move(chunks[0]));
  CHECK(chunks[0].empty());  // NOLINT(bugprone-use-after-move): that it is empty is the point
  CHECK_EQ(reactor.buffers().lent(), 2U);
  moved = std::move(chunks[1]);
  CHECK_EQ(reactor.buffers().lent(), 1U);
  Chunk& same = moved;
  moved = std::move(same);
  CHECK_EQ(as_text(moved.bytes()), "data");
  Chunk owned(std::vector<std::byte>(3, std::byte{'x'}));
  Chunk taken(std::move(owned));
  CHECK_EQ(as_text(taken.bytes()), "xxx");
  moved = std::move(taken);
  CHECK_EQ(reactor.buffers().lent(), 0U);
  CHECK_EQ(as_text(moved.bytes()), "xxx");
}

TEST_CASE("a chunk gives its buffer back once, wherever it is moved to") {
  auto reactor = make_reactor();
  reactor->run(move_chunks(*reactor));
}

TEST_CASE("a reactor that dies with a buffer lent is caught") {
  CHECK(aborts([] {
    auto reactor = make_reactor();
    const Chunk chunk(reactor->buffers(), 0, 1);
    reactor.reset();
  }));
}

}  // namespace lambdo::reactor
