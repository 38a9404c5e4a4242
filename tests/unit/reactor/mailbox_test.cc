#include "reactor/mailbox.h"

#include <atomic>
#include <thread>

#include "harness.h"
#include "reactor/event.h"

#include "test.h"

namespace lambdo::reactor {

static Task<> wait_for(Event& event) {
  (void)co_await event.wait();
}

/// Returns when the thread sleeps in the kernel.
static void await_sleep(pid_t thread) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  while (true) {
    const std::string stat = sys::read_file(path).value();
    if (stat.at(stat.rfind(')') + 2) == 'S') return;
    std::this_thread::yield();
  }
}

TEST_CASE("a letter wakes the loop from its sleep") {
  auto reactor = make_reactor();
  for (int round = 0; round < 100; ++round) {
    Event woken(*reactor);
    std::thread poster([&, thread = ::gettid()] {
      await_sleep(thread);
      reactor->mailbox().post([&] { woken.set(); });
    });
    reactor->run(wait_for(woken));
    poster.join();
  }
}

TEST_CASE("a million letters from four threads all run on the loop's thread, each thread's in its order") {
  constexpr int kThreads = 4;
  constexpr int kLetters = 250'000;
  auto reactor = make_reactor();
  Event finished(*reactor);
  std::array<int, kThreads> next{};
  int misplaced = 0;
  int left = kThreads * kLetters;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread, loop = std::this_thread::get_id()] {
      for (int i = 0; i < kLetters; ++i) {
        reactor->mailbox().post([&, thread, i, loop] {
          if (next[static_cast<size_t>(thread)]++ != i || std::this_thread::get_id() != loop) ++misplaced;
          if (--left == 0) finished.set();
        });
      }
    });
  }
  reactor->run(wait_for(finished));
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(misplaced, 0);
}

TEST_CASE("a letter may post another one, which does not starve the loop") {
  auto reactor = make_reactor();
  int runs = 0;
  static constexpr auto again = [](auto self, Reactor* loop, int* count) -> void {
    ++*count;
    loop->mailbox().post([=] { self(self, loop, count); });
  };
  again(again, reactor.get(), &runs);
  reactor->run(let_run(*reactor, 100));
  CHECK_GT(runs, 10);
}

TEST_CASE("letters never delivered die with the reactor") {
  auto kept = std::make_shared<int>(1);
  auto reactor = make_reactor();
  reactor->mailbox().post([kept] { ++*kept; });
  reactor.reset();
  CHECK_EQ(*kept, 1);
  CHECK_EQ(kept.use_count(), 1);
}

}  // namespace lambdo::reactor
