#include "reactor/handover.h"

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "test.h"

namespace lambdo::reactor {

template <typename T>
static std::vector<T> all_of(Handover<T>& handover) {
  std::vector<T> values;
  handover.take_all([&](T value) { values.push_back(std::move(value)); });
  return values;
}

TEST_CASE("values come in the order pushed, each once") {
  Handover<int> handover;
  CHECK(all_of(handover).empty());
  for (const int value : {1, 2, 3}) handover.push(value);
  CHECK_EQ(all_of(handover), std::vector{1, 2, 3});
  CHECK(all_of(handover).empty());
  handover.push(4);
  CHECK_EQ(all_of(handover), std::vector{4});
}

TEST_CASE("what is pushed while values are taken comes the next time") {
  Handover<int> handover;
  handover.push(1);
  handover.take_all([&](int value) { handover.push(value + 1); });
  CHECK_EQ(all_of(handover), std::vector{2});
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

TEST_CASE("values of several threads come to several, each once, and to each taker a thread's in its order") {
  constexpr size_t kThreads = 3;
  constexpr int kValues = 100'000;
  Handover<std::pair<size_t, int>> handover;
  std::atomic<size_t> ended = 0;
  std::atomic<int> taken = 0;
  std::atomic<int> misplaced = 0;
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads + 2);
  for (size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kValues; ++i) handover.push({thread, i});
      ++ended;
    });
  }
  for (int taker = 0; taker < 2; ++taker) {
    threads.emplace_back([&] {
      std::array<int, kThreads> last{-1, -1, -1};
      for (bool more = true; more;) {
        more = ended < kThreads;  // before the last taking, which then finds all that is left
        handover.take_all([&](const std::pair<size_t, int>& value) {
          if (std::exchange(last.at(value.first), value.second) >= value.second) ++misplaced;
          ++taken;
          sum += value.second;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(taken, kThreads * kValues);
  CHECK_EQ(sum, int64_t{kThreads} * kValues * (kValues - 1) / 2);
  CHECK_EQ(misplaced, 0);
}

}  // namespace lambdo::reactor
