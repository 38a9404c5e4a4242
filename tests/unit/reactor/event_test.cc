#include "reactor/event.h"

#include "harness.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

using Log = std::vector<int>;

/// Notes its number when woken, the negative number when cancelled.
static Task<> wait_and_note(Event& event, int number, Log& log, CancelToken token = {}) {
  const auto woken = co_await event.wait(token);
  log.push_back(woken ? number : -number);
}

static Task<> wake_one_by_one(Reactor& reactor, Log& log) {
  Event event(reactor);
  Scope scope(reactor);
  for (int i = 1; i <= 5; ++i) scope.spawn(wait_and_note(event, i, log));
  co_await let_run(reactor);
  event.notify_one();
  event.notify_one();
  co_await let_run(reactor);
  CHECK_EQ(log, Log{1, 2});
  CHECK(event.has_waiters());
  event.notify_all();
  co_await scope.join();
  CHECK_FALSE(event.has_waiters());
}

TEST_CASE("waiters are woken in the order they came") {
  auto reactor = make_reactor();
  Log log;
  reactor->run(wake_one_by_one(*reactor, log));
  CHECK_EQ(log, Log{1, 2, 3, 4, 5});
}

static Task<> set_and_clear(Reactor& reactor, Log& log) {
  Event event(reactor);
  Scope scope(reactor);
  event.notify_all();  // nobody waits: forgotten
  scope.spawn(wait_and_note(event, 1, log));
  co_await let_run(reactor, 3);
  CHECK(log.empty());
  event.set();
  CHECK(event.is_set());
  co_await wait_and_note(event, 2, log);
  CHECK_EQ(log.front(), 2);  // did not even suspend
  co_await scope.join();
  event.clear();
  scope.spawn(wait_and_note(event, 3, log));
  co_await let_run(reactor, 3);
  CHECK_EQ(log, Log{2, 1});
  event.notify_one();
  co_await scope.join();
}

TEST_CASE("a set event lets all pass until it is cleared, a notification only who waits") {
  auto reactor = make_reactor();
  Log log;
  reactor->run(set_and_clear(*reactor, log));
  CHECK_EQ(log, Log{2, 1, 3});
}

static Task<> cancel_some(Reactor& reactor, Log& log) {
  Event event(reactor);
  Scope scope(reactor);
  std::array<CancelSource, 4> sources;
  for (int i = 1; i <= 4; ++i) scope.spawn(wait_and_note(event, i, log, sources[i - 1].token()));
  co_await let_run(reactor);
  sources[1].cancel();
  sources[3].cancel();
  event.notify_all();
  co_await scope.join();
  co_await wait_and_note(event, 5, log, sources[1].token());  // cancelled before it waits
}

TEST_CASE("a cancelled wait returns so and is not notified") {
  auto reactor = make_reactor();
  Log log;
  reactor->run(cancel_some(*reactor, log));
  CHECK_EQ(log, Log{-2, -4, 1, 3, -5});
}

static Task<> notify_against_cancel(Reactor& reactor, Log& log) {
  Event event(reactor);
  Scope scope(reactor);
  std::array<CancelSource, 2> sources;
  for (int i = 1; i <= 2; ++i) scope.spawn(wait_and_note(event, i, log, sources[i - 1].token()));
  scope.spawn(wait_and_note(event, 3, log));
  co_await let_run(reactor);
  event.notify_one();   // taken by 1 ...
  sources[0].cancel();  // ... which this comes too late for
  sources[1].cancel();
  event.notify_one();  // must not be lost on 2
  co_await scope.join();
}

TEST_CASE("no notification is lost to a waiter that is cancelled in the same turn") {
  auto reactor = make_reactor();
  Log log;
  reactor->run(notify_against_cancel(*reactor, log));
  CHECK_EQ(log, Log{1, -2, 3});
}

TEST_CASE("an event that dies with a waiter, and a waiter that dies queued, are caught") {
  CHECK(aborts([] {
    auto reactor = make_reactor();
    Log log;
    Event event(*reactor);
    Scope scope(*reactor);
    scope.spawn(wait_and_note(event, 1, log));
    reactor->run(let_run(*reactor, 2));
    event.~Event();
  }));
  CHECK(aborts([] {
    auto reactor = make_reactor();
    Waiter waiter;
    reactor->resume_later(waiter);
  }));
}

}  // namespace lambdo::reactor
