#include "reactor/timer.h"

#include <algorithm>
#include <map>

#include "harness.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

namespace {

struct Fired {
  size_t number;
  int64_t deadline_ns;
};

class NotingTimer final : public Timer {
 public:
  NotingTimer(Reactor& reactor, size_t number, std::vector<Fired>& fired)
      : Timer(reactor), number_(number), fired_(&fired) {}
  void set(int64_t deadline_ns) {
    deadline_ns_ = deadline_ns;
    arm(deadline_ns);
  }
  using Timer::disarm;

 private:
  void fire() override { fired_->push_back({number_, deadline_ns_}); }

  size_t number_;
  int64_t deadline_ns_ = 0;
  std::vector<Fired>* fired_;
};

}  // namespace

TEST_CASE("thousands of timers, armed, moved and disarmed at random, fire as a model says") {
  auto reactor = make_reactor();
  std::mt19937 random(7);
  std::vector<Fired> fired;
  std::vector<std::unique_ptr<NotingTimer>> timers;
  timers.reserve(2000);
  for (size_t i = 0; i < 2000; ++i) timers.push_back(std::make_unique<NotingTimer>(*reactor, i, fired));
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    std::map<size_t, int64_t> model;
    const int64_t base_ns = reactor->now_ns();
    for (int step = 0; step < 6000; ++step) {
      const size_t number = random() % timers.size();
      if (random() % 4 == 0) {
        timers[number]->disarm();
        model.erase(number);
      } else {
        const int64_t deadline_ns = base_ns - static_cast<int64_t>(random() % 5000);  // many are equal
        timers[number]->set(deadline_ns);
        model[number] = deadline_ns;
      }
    }
    fired.clear();
    reactor->run(let_run(*reactor, 2));
    REQUIRE_EQ(fired.size(), model.size());
    CHECK(std::ranges::is_sorted(fired, {}, &Fired::deadline_ns));
    std::map<size_t, int64_t> seen;
    for (const Fired& one : fired) seen.emplace(one.number, one.deadline_ns);
    CHECK_EQ(seen, model);
  }
}

static Task<> sleep_and_check(Reactor& reactor, int64_t after_ns, std::vector<int64_t>& order) {
  const int64_t deadline_ns = reactor.now_ns() + after_ns;
  const auto slept = co_await SleepOp::until(reactor, deadline_ns);
  CHECK(slept.has_value());
  CHECK_GE(reactor.now_ns(), deadline_ns);
  order.push_back(deadline_ns);
}

static Task<std::vector<int64_t>> sleep_many(Reactor& reactor) {
  std::vector<int64_t> order;
  std::mt19937 random(11);
  Scope scope(reactor);
  for (int i = 0; i < 3000; ++i) {
    scope.spawn(sleep_and_check(reactor, static_cast<int64_t>(random() % 30'000'000), order));
  }
  co_await scope.join();
  co_return order;
}

TEST_CASE("thousands of sleepers wake in the order of their deadlines, none too early") {
  auto reactor = make_reactor();
  const auto order = reactor->run(sleep_many(*reactor));
  CHECK_EQ(order.size(), 3000U);
  CHECK(std::ranges::is_sorted(order));
}

static Task<> cancel_sleeps(Reactor& reactor) {
  CancelSource source;
  source.cancel();
  CHECK_EQ((co_await SleepOp::for_ms(reactor, 0, source.token())).error().code, Code::cancelled);
  // Cancelled in the very turn it is due in: whichever comes first, it ends once.
  for (int64_t i = 0; i < 200; ++i) {
    Deadline together(reactor, reactor.now_ns() + i * 500);
    const auto slept = co_await SleepOp::until(reactor, reactor.now_ns() + i * 500, together.token());
    if (!slept) CHECK(together.passed());
  }
  // A duration beyond the clock neither overflows nor ends at once.
  Deadline soon(reactor, reactor.now_ns() + 1'000'000);
  CHECK_FALSE((co_await SleepOp::for_ms(reactor, INT64_MAX, soon.token())).has_value());
  CHECK((co_await SleepOp::for_ms(reactor, INT64_MIN)).has_value());
}

TEST_CASE("a sleep ends when cancelled, however late") {
  auto reactor = make_reactor();
  reactor->run(cancel_sleeps(*reactor));
}

static Task<bool> sleep_until_cancelled(Reactor& reactor, CancelToken token) {
  co_return (co_await SleepOp::for_ms(reactor, 3'600'000, token)).has_value();
}

static Task<> use_deadlines(Reactor& reactor) {
  const int64_t start_ns = reactor.now_ns();
  Deadline deadline(reactor, start_ns + 1'000'000);
  deadline.set(start_ns + 5'000'000);
  CHECK_FALSE(co_await sleep_until_cancelled(reactor, deadline.token()));
  CHECK(deadline.passed());
  CHECK_GE(reactor.now_ns(), start_ns + 5'000'000);

  Deadline cleared(reactor, reactor.now_ns());
  cleared.clear();
  co_await let_run(reactor, 3);
  CHECK_FALSE(cleared.passed());
  CHECK_FALSE(cleared.token().cancelled());

  CancelSource parent;
  Deadline child(reactor, reactor.now_ns() + 3'600'000'000'000, parent.token());
  parent.cancel();
  CHECK_FALSE(co_await sleep_until_cancelled(reactor, child.token()));
  CHECK_FALSE(child.passed());

  Deadline by_hand(reactor, reactor.now_ns() + 3'600'000'000'000);
  by_hand.cancel();
  CHECK(by_hand.token().cancelled());
  CHECK_FALSE(by_hand.passed());
}

TEST_CASE("a deadline cancels what is under it, can be moved and cleared, and tells why") {
  auto reactor = make_reactor();
  reactor->run(use_deadlines(*reactor));
}

}  // namespace lambdo::reactor
