#include "reactor/task.h"

#include <memory>

#include "base/error.h"
#include "harness.h"

#include "test.h"

namespace lambdo::reactor {

static Task<int> give(int number) {
  co_return number;
}

static Task<std::unique_ptr<int>> give_box(int number) {
  co_return std::make_unique<int>(number);
}

static Task<> note(int& calls) {
  ++calls;
  co_return;
}

TEST_CASE("a task gives its value, moved where it cannot be copied") {
  auto reactor = make_reactor();
  CHECK_EQ(reactor->run(give(7)), 7);
  CHECK_EQ(*reactor->run(give_box(8)), 8);
  int calls = 0;
  reactor->run(note(calls));
  CHECK_EQ(calls, 1);
}

TEST_CASE("a task runs only when awaited, and one never awaited is destroyed with its parameters") {
  auto reactor = make_reactor();
  static constexpr auto hold = [](std::shared_ptr<int> counter) -> Task<> {
    ++*counter;
    co_return;
  };
  auto counter = std::make_shared<int>(0);
  {
    Task<> unstarted = hold(counter);
    Task<> moved = std::move(unstarted);
    CHECK_EQ(counter.use_count(), 2);
    moved = hold(counter);
    CHECK_EQ(counter.use_count(), 2);
  }
  CHECK_EQ(*counter, 0);
  CHECK_EQ(counter.use_count(), 1);
  reactor->run(hold(counter));
  CHECK_EQ(*counter, 1);
  CHECK_EQ(counter.use_count(), 1);
}

/// The lowest and highest stack addresses that coroutines were resumed at.
struct StackRange {
  uintptr_t low = UINTPTR_MAX;
  uintptr_t high = 0;
  void visit() {
    const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    low = std::min(low, here);
    high = std::max(high, here);
  }
};

static Task<int> descend(int depth, StackRange& stack, Reactor& reactor) {
  stack.visit();
  if (depth == 0) {
    co_await let_run(reactor);
    co_return 0;
  }
  const int below = co_await descend(depth - 1, stack, reactor);
  stack.visit();
  co_return below + 1;
}

static Task<int> repeat(int count, StackRange& stack) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    sum += co_await give(1);
    stack.visit();
  }
  co_return sum;
}

TEST_CASE("100,000 awaits, one inside another or one after another, use no stack") {
  auto reactor = make_reactor();
  StackRange nested;
  CHECK_EQ(reactor->run(descend(100'000, nested, *reactor)), 100'000);
  CHECK_LT(nested.high - nested.low, 4096U);
  StackRange in_a_row;
  CHECK_EQ(reactor->run(repeat(100'000, in_a_row)), 100'000);
  CHECK_LT(in_a_row.high - in_a_row.low, 4096U);
}

/// Counts how many live, so that a temporary destroyed twice or never shows.
class Counted {
 public:
  explicit Counted(int& alive) : alive_(&alive), heap_(std::make_unique<int>(1)) { ++alive; }
  Counted(Counted&& other) noexcept : alive_(other.alive_), heap_(std::move(other.heap_)) { ++*alive_; }
  Counted& operator=(Counted&&) = delete;
  ~Counted() { --*alive_; }
  [[nodiscard]] int value() const { return *heap_; }

 private:
  int* alive_;
  std::unique_ptr<int> heap_;
};

static Task<Result<Counted>> make_counted(Reactor& reactor, int& alive, bool works) {
  co_await let_run(reactor);
  if (!works) co_return fail(Code::not_found, "no object");
  co_return Counted(alive);
}

static int add(const Counted& a, const Counted& b) {
  return a.value() + b.value();
}

static Task<Result<int>> add_two(Reactor& reactor, int& alive, bool first, bool second) {
  co_return add(CO_TRY(co_await make_counted(reactor, alive, first)),
                CO_TRY(co_await make_counted(reactor, alive, second)));
}

TEST_CASE("CO_TRY in the middle of an expression destroys every temporary once, whichever part fails") {
  auto reactor = make_reactor();
  for (const bool first : {true, false}) {
    for (const bool second : {true, false}) {
      CAPTURE(first);
      CAPTURE(second);
      int alive = 0;
      const auto sum = reactor->run(add_two(*reactor, alive, first, second));
      CHECK_EQ(alive, 0);
      REQUIRE_EQ(sum.has_value(), first && second);
      if (sum) CHECK_EQ(*sum, 2);
      if (!sum) CHECK_EQ(sum.error().message, "no object");
    }
  }
}

static Task<Result<>> empty_result() {
  co_return {};
}

TEST_CASE("a coroutine that has nothing to tell returns an empty result in braces") {
  auto reactor = make_reactor();
  CHECK(reactor->run(empty_result()).has_value());
}

static Task<> await_twice(int& calls) {
  Task<> task = note(calls);
  co_await std::move(task);
  co_await std::move(task);  // NOLINT(bugprone-use-after-move): awaiting moves nothing out
}

TEST_CASE("awaiting a task twice is caught") {
  CHECK(aborts([] {
    auto reactor = make_reactor();
    int calls = 0;
    reactor->run(await_twice(calls));
  }));
}

}  // namespace lambdo::reactor
