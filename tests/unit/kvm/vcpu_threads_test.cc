#include "kvm/vcpu_threads.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <latch>
#include <set>

#include "test.h"

namespace lambdo::kvm {

TEST_CASE("jobs that wait for each other all run at once, and their threads serve the next ones") {
  const auto reactor = reactor::Reactor::create().value();
  VcpuThreads threads(*reactor);
  for (int round = 0; round < 3; ++round) {
    constexpr int kJobs = 8;
    std::latch all_here(kJobs);
    std::latch all_done(kJobs);
    for (int i = 0; i < kJobs; ++i) {
      REQUIRE(threads.run([&] {
        all_here.arrive_and_wait();
        all_done.count_down();
      }));
    }
    all_done.wait();
    // A thread may be on its way back to the pool when the next job comes, which then gets a new one.
    CHECK_LE(threads.count(), kJobs * (round + 1));
  }
}

TEST_CASE("a burst leaves no more idle threads than the bound") {
  const auto reactor = reactor::Reactor::create().value();
  VcpuThreads threads(*reactor);
  constexpr int kJobs = VcpuThreads::kMaxIdle + 20;
  std::latch all_here(kJobs);
  for (int i = 0; i < kJobs; ++i) REQUIRE(threads.run([&] { all_here.arrive_and_wait(); }));
  while (threads.count() > VcpuThreads::kMaxIdle) std::this_thread::yield();
  std::latch again(1);
  REQUIRE(threads.run([&] { again.count_down(); }));
  again.wait();
}

TEST_CASE("the threads take no signal but the kick") {
  const auto reactor = reactor::Reactor::create().value();
  VcpuThreads threads(*reactor);
  sigset_t mask;
  std::latch done(1);
  REQUIRE(threads.run([&] {
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    done.count_down();
  }));
  done.wait();
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGUSR2, SIGPIPE}) {
    CHECK_EQ(sigismember(&mask, signal), 1);
  }
  CHECK_EQ(sigismember(&mask, VcpuThreads::kick_signal()), 0);
}

}  // namespace lambdo::kvm
