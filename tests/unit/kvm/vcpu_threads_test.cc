#include "kvm/vcpu_threads.h"

#include <sys/resource.h>

#include <csignal>
#include <latch>
#include <thread>

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

TEST_CASE("the threads run guests at normal priority, whatever that of the thread that starts them") {
  const auto reactor = reactor::Reactor::create().value();
  VcpuThreads threads(*reactor);
  const int before = ::getpriority(PRIO_PROCESS, 0);
  if (::setpriority(PRIO_PROCESS, 0, -5) != 0) {
    MESSAGE("SKIPPED: raising the priority needs a privilege that this process lacks");
    return;
  }
  int priority = -1;
  std::latch done(1);
  REQUIRE(threads.run([&] {
    priority = ::getpriority(PRIO_PROCESS, 0);
    done.count_down();
  }));
  done.wait();
  ::setpriority(PRIO_PROCESS, 0, before);
  CHECK_EQ(priority, 0);
}

}  // namespace lambdo::kvm
