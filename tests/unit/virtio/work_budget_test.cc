#include "virtio/work_budget.h"

#include "test.h"

namespace lambdo::virtio {

TEST_CASE("a wake-up ends at the limit of rounds, of bytes or of time, whichever is reached first") {
  struct Case {
    const char* name;
    WorkLimits limits;
    size_t rounds;
  };
  // Each round takes 100 bytes and 10 ns.
  const Case cases[] = {{"rounds", {.rounds = 3, .bytes = 1000, .time_ns = 1000}, 3},
                        {"bytes, counted after the round that reaches them", {.rounds = 50, .bytes = 401}, 5},
                        {"bytes, met exactly", {.rounds = 50, .bytes = 400}, 4},
                        {"time", {.rounds = 50, .bytes = 100'000, .time_ns = 60}, 6},
                        {"nothing allowed", {}, 0}};
  for (const Case& c : cases) {
    CAPTURE(c.name);
    int64_t now_ns = 5'000;
    WorkBudget budget(c.limits, now_ns);
    size_t rounds = 0;
    while (rounds < 100 && budget.begin_round(now_ns)) {
      CHECK_EQ(budget.now_ns(), now_ns);
      budget.spend(100);
      now_ns += 10;
      ++rounds;
    }
    CHECK_EQ(rounds, c.rounds);
    CHECK_FALSE(budget.begin_round(now_ns));
  }
}

TEST_CASE("a budget without a limit of time needs no clock") {
  const WorkLimits limits = {.rounds = 2, .bytes = 1};
  WorkBudget budget(limits);
  CHECK_EQ(budget.now_ns(), 0);
  CHECK(budget.begin_round());
  CHECK(budget.begin_round());
  CHECK_FALSE(budget.begin_round());
}

}  // namespace lambdo::virtio
