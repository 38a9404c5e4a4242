#include "reactor/blocking_pool.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "harness.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "test.h"

namespace lambdo::reactor {
namespace {

struct Counts {
  std::atomic<int> running = 0;
  std::atomic<int> most = 0;
  std::atomic<int> done = 0;
};

void work_for_a_while(Counts& counts) {
  const int now = ++counts.running;
  int most = counts.most;
  while (now > most && !counts.most.compare_exchange_weak(most, now)) {
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  --counts.running;
  ++counts.done;
}

Task<> one_job(BlockingPool& pool, Counts& counts) {
  co_await pool.run([&counts] { work_for_a_while(counts); });
}

Task<> many_jobs(Reactor& reactor, BlockingPool& pool, Counts& counts, int jobs) {
  Scope scope(reactor);
  for (int i = 0; i < jobs; ++i) scope.spawn(one_job(pool, counts));
  co_await scope.join();
}

TEST_CASE("a job runs on another thread and its result comes back to the loop") {
  auto reactor = Reactor::create().value();
  BlockingPool pool(*reactor, 2);
  const pid_t here = ::gettid();
  const auto answer = reactor->run(pool.run([] { return std::make_pair(::gettid(), std::string("done")); }));
  CHECK(answer.first != here);
  CHECK(answer.second == "done");
}

TEST_CASE("threads stay off the last processor when the pool is to leave it") {
  cpu_set_t mine;
  REQUIRE(::sched_getaffinity(0, sizeof mine, &mine) == 0);
  auto reactor = Reactor::create().value();
  const auto cpus_of_threads = [&](BlockingPool::Cpus cpus) {
    BlockingPool pool(*reactor, 1, cpus);
    return reactor->run(pool.run([] {
      cpu_set_t theirs;
      CHECK(::sched_getaffinity(0, sizeof theirs, &theirs) == 0);
      return theirs;
    }));
  };
  const cpu_set_t all = cpus_of_threads(BlockingPool::Cpus::all);
  CHECK(CPU_EQUAL(&all, &mine));
  const cpu_set_t fewer = cpus_of_threads(BlockingPool::Cpus::all_but_one);
  CHECK(CPU_COUNT(&fewer) == std::max(1, CPU_COUNT(&mine) - 1));
  // The loop's own thread goes where it went before.
  cpu_set_t after;
  REQUIRE(::sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&after, &mine));
}

TEST_CASE("a result that only moves comes back too") {
  auto reactor = Reactor::create().value();
  BlockingPool pool(*reactor, 1);
  const auto answer = reactor->run(pool.run([] { return std::make_unique<int>(7); }));
  CHECK(*answer == 7);
}

TEST_CASE("many jobs all run, on no more threads than allowed") {
  auto reactor = Reactor::create().value();
  BlockingPool pool(*reactor, 3);
  Counts counts;
  reactor->run(many_jobs(*reactor, pool, counts, 40));
  CHECK(counts.done == 40);
  CHECK(counts.most <= 3);
  CHECK(counts.most >= 2);
}

Task<> run_job(BlockingPool& pool, std::function<void()> job) {
  co_await pool.run([&job] { job(); });
}

/// Asks for `jobs` jobs at once, the numbers from 0 on, and waits for all.
Task<> run_jobs(Reactor& reactor, BlockingPool& pool, int jobs, std::function<void(int)> job) {
  Scope scope(reactor);
  for (int number = 0; number < jobs; ++number) {
    scope.spawn(run_job(pool, [&job, number] { job(number); }));
  }
  co_await scope.join();
}

TEST_CASE("as many jobs as threads run at once, also those of threads that were idle") {
  constexpr int kThreads = 4;
  auto reactor = Reactor::create().value();
  BlockingPool pool(*reactor, kThreads);
  // A thread that is not started, or not woken, leaves the others at the barrier for good.
  std::barrier meet(kThreads);
  for (int round = 0; round < 200; ++round) {
    reactor->run(run_jobs(*reactor, pool, kThreads, [&](int) { meet.arrive_and_wait(); }));
  }
}

TEST_CASE("jobs begin in the order asked for") {
  constexpr int kJobs = 500;
  auto reactor = Reactor::create().value();
  BlockingPool pool(*reactor, 1);
  std::vector<int> began;
  reactor->run(run_jobs(*reactor, pool, kJobs, [&](int number) { began.push_back(number); }));
  CHECK(std::ranges::is_sorted(began));
  CHECK_EQ(began.size(), kJobs);
}

TEST_CASE("a pool ends at once, with threads that are idle and with one that comes back from its job") {
  auto reactor = Reactor::create().value();
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> done = 0;
    BlockingPool pool(*reactor, 3);
    reactor->run(run_jobs(*reactor, pool, round % 5, [&](int) { ++done; }));
    CHECK_EQ(done, round % 5);
  }
}

TEST_CASE("a pool that is never used starts no thread") {
  auto reactor = Reactor::create().value();
  const BlockingPool pool(*reactor, 4);
}

}  // namespace
}  // namespace lambdo::reactor
