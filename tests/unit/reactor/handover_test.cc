#include "reactor/handover.h"

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "test.h"

namespace lambdo::reactor {

TEST_CASE("values come in the order pushed, each once, and the first of them says so") {
  Handover<int> handover;
  CHECK(handover.take_all().empty());
  CHECK(handover.push(1));
  CHECK_FALSE(handover.push(2));
  CHECK_FALSE(handover.push(3));
  CHECK_EQ(handover.take_all(), std::vector{1, 2, 3});
  CHECK(handover.take_all().empty());
  CHECK(handover.push(4));
  CHECK_EQ(handover.take_all(), std::vector{4});
}

TEST_CASE("what nobody takes goes with it") {
  const auto kept = std::make_shared<int>(1);
  {
    Handover<std::shared_ptr<int>> handover;
    handover.push(kept);
    handover.push(kept);
    CHECK_EQ(kept.use_count(), 3);
  }
  CHECK_EQ(kept.use_count(), 1);
}

TEST_CASE("values of several threads all come to those who take them, each thread's in its order") {
  constexpr size_t kThreads = 3;
  constexpr int kValues = 100'000;
  Handover<std::pair<size_t, int>> handover;
  std::atomic<int> began_anew = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kValues; ++i) began_anew += handover.push({thread, i}) ? 1 : 0;
    });
  }
  std::array<int, kThreads> next{};
  int misplaced = 0;
  int takings = 0;
  for (size_t left = kThreads * kValues; left > 0;) {
    const auto values = handover.take_all();
    takings += values.empty() ? 0 : 1;
    left -= values.size();
    for (const auto& [thread, value] : values) misplaced += next.at(thread)++ == value ? 0 : 1;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(misplaced, 0);
  CHECK_EQ(began_anew, takings);
}

}  // namespace lambdo::reactor
