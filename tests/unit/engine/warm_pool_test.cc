#include "engine/warm_pool.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/agent_grpc.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "scripted_engine.h"

#include "test.h"

namespace lambdo::engine {

using reactor::Reactor;
using reactor::Task;
using Guests = ScriptedEngine::Guests;

static constexpr size_t kStarting = 2;
static constexpr int64_t kLongMs = 20'000;

/// Pools over a scripted engine, one for each language, and what they need.
struct Pools {
  explicit Pools(std::vector<Guests> script, int64_t start_timeout_ms = kLongMs)
      : engine(std::move(script)), agents(*reactor), slots(*reactor, kStarting) {
    for (size_t i = 0; i < engine.script.size(); ++i) {
      pools.push_back(
          std::make_unique<WarmPool>(*reactor, engine, agents, slots, nullptr,
                                     WarmPool::Options{i, std::to_string(i), 0, start_timeout_ms, {}}));
    }
  }

  /// Takes a guest and gives it back to be destroyed; the error's code where there is none.
  Task<Result<>> use(size_t language, reactor::CancelToken token = {}) {
    auto guest = co_await pools[language]->acquire(token);
    if (!guest) co_return std::unexpected(std::move(guest).error());
    pools[language]->dispose(std::move(*guest));
    co_return Result<>{};
  }
  Task<> count_use(size_t language, reactor::CancelToken token, std::vector<Code>& outcomes) {
    const auto used = co_await use(language, token);
    outcomes.push_back(used ? Code::internal : used.error().code);
  }
  Task<> stop() {
    for (auto& pool : pools) co_await pool->stop();
  }

  std::unique_ptr<Reactor> reactor = Reactor::create().value();
  ScriptedEngine engine;
  AgentGrpc agents;
  StartSlots slots;
  std::vector<std::unique_ptr<WarmPool>> pools;
};

static Task<> hang_and_use(Pools& pools) {
  reactor::Scope scope(*pools.reactor);
  std::vector<Code> hanging;
  for (int i = 0; i < 5; ++i) scope.spawn(pools.count_use(0, scope.token(), hanging));
  (void)co_await reactor::SleepOp::for_ms(*pools.reactor, 1);
  CHECK_EQ(pools.engine.alive[0], kStarting);
  for (int i = 0; i < 3; ++i) CHECK(co_await pools.use(1));
  CHECK(hanging.empty());
  CHECK_EQ(pools.engine.created[0], kStarting);
  scope.cancel();
  co_await scope.join();
  CHECK_EQ(hanging, std::vector<Code>(5, Code::cancelled));
  co_await pools.stop();
}

TEST_CASE("a language whose guests hang at their start does not keep another one waiting") {
  Pools pools({Guests::hang, Guests::answer});
  const int64_t start_ns = pools.reactor->now_ns();
  pools.reactor->run(hang_and_use(pools));
  CHECK_LT(pools.reactor->now_ns() - start_ns, kLongMs * 1'000'000 / 2);
  CHECK_EQ(pools.engine.alive, std::vector<size_t>{0, 0});
}

static Task<> use_at_once(Pools& pools, std::vector<size_t> languages, std::vector<Code>& outcomes) {
  reactor::Scope scope(*pools.reactor);
  for (const size_t language : languages) scope.spawn(pools.count_use(language, {}, outcomes));
  co_await scope.join();
  co_await pools.stop();
}

TEST_CASE("many who ask at once are all served, no more starting than there are slots") {
  Pools pools({Guests::answer, Guests::answer});
  std::vector<Code> outcomes;
  pools.reactor->run(use_at_once(pools, {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}, outcomes));
  CHECK_EQ(outcomes, std::vector<Code>(12, Code::internal));
  CHECK_EQ(pools.engine.created, std::vector<size_t>{8, 4});
  CHECK_EQ(pools.slots.free, kStarting + 1);
}

TEST_CASE("a guest that does not answer in time is told to one who waits, and its slot is free again") {
  Pools pools({Guests::hang}, 20);
  std::vector<Code> outcomes;
  pools.reactor->run(use_at_once(pools, {0, 0, 0}, outcomes));
  CHECK_EQ(outcomes, std::vector<Code>(3, Code::engine_failed));
  CHECK_EQ(pools.slots.free, kStarting + 1);
  CHECK_EQ(pools.engine.most_alive[0], kStarting);
  CHECK_EQ(pools.engine.alive[0], 0);
}

static Task<> fail_then_work(Pools& pools) {
  CHECK_EQ((co_await pools.use(0)).error().code, Code::engine_failed);
  pools.engine.script[0] = Guests::answer;
  CHECK(co_await pools.use(0));
  co_await pools.stop();
}

TEST_CASE("who comes after a failure is not told of it but served") {
  Pools pools({Guests::hang}, 20);
  pools.reactor->run(fail_then_work(pools));
}

}  // namespace lambdo::engine
