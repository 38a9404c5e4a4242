#include "kvm/vcpu_threads.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <latch>
#include <thread>

#include "test.h"

namespace lambdo::kvm {

static void must_start(const Error& error) {
  FAIL(error.message);
}

TEST_CASE("jobs that wait for each other all run at once, and their threads serve the next ones") {
  VcpuThreads threads;
  for (int round = 0; round < 3; ++round) {
    constexpr int kJobs = 8;
    std::latch all_here(kJobs);
    std::latch all_done(kJobs);
    for (int i = 0; i < kJobs; ++i) {
      threads.run(
          [&] {
            all_here.arrive_and_wait();
            all_done.count_down();
          },
          must_start);
    }
    all_done.wait();
    // A thread may be on its way back to the pool when the next job comes, which then gets a new one.
    CHECK_LE(threads.count(), kJobs * (round + 1));
  }
}

TEST_CASE("a burst leaves no more idle threads than the bound") {
  VcpuThreads threads;
  constexpr int kJobs = VcpuThreads::kMaxIdle + 20;
  std::latch all_here(kJobs);
  for (int i = 0; i < kJobs; ++i) threads.run([&] { all_here.arrive_and_wait(); }, must_start);
  while (threads.count() > VcpuThreads::kMaxIdle) std::this_thread::yield();
  std::latch again(1);
  threads.run([&] { again.count_down(); }, must_start);
  again.wait();
}

TEST_CASE("the threads take no signal but the kick") {
  VcpuThreads threads;
  sigset_t mask;
  std::latch done(1);
  threads.run(
      [&] {
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        done.count_down();
      },
      must_start);
  done.wait();
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGUSR2, SIGPIPE}) {
    CHECK_EQ(sigismember(&mask, signal), 1);
  }
  CHECK_EQ(sigismember(&mask, VcpuThreads::kick_signal()), 0);
}

TEST_CASE("the threads run guests at normal priority, whatever that of the thread that starts them") {
  const int before = ::getpriority(PRIO_PROCESS, 0);
  if (::setpriority(PRIO_PROCESS, 0, -5) != 0) {
    MESSAGE("SKIPPED: raising the priority needs a privilege that this process lacks");
    return;
  }
  VcpuThreads threads;
  int priority = -1;
  std::latch done(1);
  threads.run(
      [&] {
        priority = ::getpriority(PRIO_PROCESS, 0);
        done.count_down();
      },
      must_start);
  done.wait();
  ::setpriority(PRIO_PROCESS, 0, before);
  CHECK_EQ(priority, 0);
}

// A sanitizer's own maps do not fit into such a limit.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
TEST_CASE("a job for which there is no thread is told so, and the next ones are served") {
  VcpuThreads threads;
  // Address space for a few threads, their stacks included.
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_AS, &before) == 0);
  long pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlimit tight = {static_cast<rlim_t>(pages) * 4096 + 8 * VcpuThreadStarter::kStackBytes,
                        before.rlim_max};
  constexpr int kJobs = 64;
  std::atomic<int> refused = 0;
  std::atomic<int> started = 0;
  std::latch release(1);
  REQUIRE(::setrlimit(RLIMIT_AS, &tight) == 0);
  for (int i = 0; i < kJobs; ++i) {
    threads.run(
        [&] {
          ++started;
          release.wait();
        },
        [&](const Error& error) { refused += error.code == Code::resource_exhausted ? 1 : 1000; });
  }
  while (started + refused < kJobs) std::this_thread::yield();
  ::setrlimit(RLIMIT_AS, &before);
  CHECK_GT(refused, 0);
  CHECK_GT(started, 0);
  release.count_down();
  std::latch done(1);
  threads.run([&] { done.count_down(); }, must_start);
  done.wait();
}
#endif

}  // namespace lambdo::kvm
