#include "reactor/yield.h"

#include "harness.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

static Task<> note_and_yield(Reactor& reactor, int number, std::vector<int>& log) {
  for (int i = 0; i < 3; ++i) {
    log.push_back(number);
    co_await YieldOp(reactor);
  }
}

static Task<> yield_beside_each_other(Reactor& reactor, std::vector<int>& log) {
  Scope scope(reactor);
  scope.spawn(note_and_yield(reactor, 1, log));
  scope.spawn(note_and_yield(reactor, 2, log));
  co_await scope.join();
}

TEST_CASE("coroutines that yield take turns") {
  auto reactor = make_reactor();
  std::vector<int> log;
  reactor->run(yield_beside_each_other(*reactor, log));
  CHECK_EQ(log, std::vector<int>{1, 2, 1, 2, 1, 2});
}

static Task<> yield_until_timer(Reactor& reactor, int& yields) {
  const int64_t end_ns = reactor.now_ns() + 2'000'000;
  const uint64_t first_turn = reactor.statistics().turns;
  while (reactor.now_ns() < end_ns) {
    co_await YieldOp(reactor);
    ++yields;
  }
  CHECK_EQ(reactor.statistics().turns - first_turn, static_cast<uint64_t>(yields));
}

TEST_CASE("every yield takes one turn of the loop, which does not wait in between") {
  auto reactor = make_reactor();
  int yields = 0;
  reactor->run(yield_until_timer(*reactor, yields));
  CHECK_GT(yields, 1);
}

}  // namespace lambdo::reactor
