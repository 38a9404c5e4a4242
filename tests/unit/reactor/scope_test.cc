#include "reactor/scope.h"

#include "harness.h"

#include "test.h"

namespace lambdo::reactor {

static Task<> work(Reactor& reactor, int turns, int& done) {
  co_await let_run(reactor, turns);
  ++done;
}

static Task<> spawn_and_join(Reactor& reactor) {
  Scope scope(reactor);
  co_await scope.join();  // nothing to wait for
  int done = 0;
  for (int i = 0; i < 100; ++i) scope.spawn(work(reactor, i % 7, done));
  CHECK_EQ(done, 0);  // started from the loop, not from spawn
  CHECK_EQ(scope.running(), 100U);
  co_await scope.join();
  CHECK_EQ(done, 100);
  CHECK_EQ(scope.running(), 0U);
}

TEST_CASE("join waits for all that was spawned") {
  auto reactor = make_reactor();
  reactor->run(spawn_and_join(*reactor));
}

static Task<> spawn_chain(Reactor& reactor, Scope& scope, int left, int& done) {
  co_await let_run(reactor);
  if (left > 0) scope.spawn(spawn_chain(reactor, scope, left - 1, done));
  ++done;
}

static Task<> join_while_spawning(Reactor& reactor) {
  Scope scope(reactor);
  int done = 0;
  scope.spawn(spawn_chain(reactor, scope, 50, done));
  co_await scope.join();
  CHECK_EQ(done, 51);
}

TEST_CASE("join waits for what is spawned meanwhile too") {
  auto reactor = make_reactor();
  reactor->run(join_while_spawning(*reactor));
}

static Task<> sleep_long(Reactor& reactor, CancelToken token, int& cancelled) {
  const auto slept = co_await SleepOp::for_ms(reactor, 3'600'000, token);
  if (!slept && slept.error().code == Code::cancelled) ++cancelled;
}

static Task<> cancel_scopes(Reactor& reactor) {
  CancelSource parent;
  int cancelled = 0;
  Scope outer(reactor, parent.token());
  Scope inner(reactor, outer.token());
  for (int i = 0; i < 10; ++i) outer.spawn(sleep_long(reactor, outer.token(), cancelled));
  for (int i = 0; i < 10; ++i) inner.spawn(sleep_long(reactor, inner.token(), cancelled));
  co_await let_run(reactor);
  inner.cancel();
  co_await inner.join();
  CHECK_EQ(cancelled, 10);
  parent.cancel();
  outer.spawn(sleep_long(reactor, outer.token(), cancelled));  // ends as soon as it starts
  co_await outer.join();
  CHECK_EQ(cancelled, 21);
}

TEST_CASE("cancelling a scope or its parent ends the work in it") {
  auto reactor = make_reactor();
  reactor->run(cancel_scopes(*reactor));
}

/// Touches what it refers to when it dies.
class LastTouch {
 public:
  explicit LastTouch(int& touched) : touched_(&touched) {}
  LastTouch(LastTouch&& other) noexcept : touched_(std::exchange(other.touched_, nullptr)) {}
  LastTouch& operator=(LastTouch&&) = delete;
  ~LastTouch() {
    if (touched_ != nullptr) ++*touched_;
  }

 private:
  int* touched_;
};

static Task<> hold(Reactor& reactor, LastTouch parameter) {
  const LastTouch held = std::move(parameter);
  co_await let_run(reactor);
}

static Task<int> frames_before_join(Reactor& reactor) {
  int touched = 0;
  Scope scope(reactor);
  for (int i = 0; i < 10; ++i) scope.spawn(hold(reactor, LastTouch(touched)));
  co_await scope.join();
  co_return touched;
}

TEST_CASE("when join returns, the tasks' frames are gone") {
  auto reactor = make_reactor();
  CHECK_EQ(reactor->run(frames_before_join(*reactor)), 10);
}

TEST_CASE("a scope that dies with work in it is caught") {
  CHECK(aborts([] {
    auto reactor = make_reactor();
    int done = 0;
    Scope scope(*reactor);
    scope.spawn(work(*reactor, 1, done));
    scope.~Scope();
  }));
}

}  // namespace lambdo::reactor
