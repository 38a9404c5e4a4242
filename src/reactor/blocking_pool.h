#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "reactor/handover.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::reactor {

/// A few threads for work that would hold up the loop: hashing, decompression, walking a file system. They
/// run at a lower priority than the reactor's thread. Handing over jobs and results takes no lock, for which
/// the loop would wait while a thread that has it gets no processor.
class BlockingPool {
 public:
  using Job = std::move_only_function<void()>;
  /// Added to the nice value of the threads.
  static constexpr int kNice = 10;

  /// Where the threads run.
  enum class Cpus {
    all,
    /// On all but the last of those that the process may use, where it may use several: long system calls are
    /// not preempted by every kernel, and the loop shall not wait for the end of one.
    all_but_one,
  };

  /// Starts no thread before the first job. `reactor` outlives the pool.
  BlockingPool(Reactor& reactor, size_t max_threads, Cpus cpus = Cpus::all);
  /// No job may be running or queued.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// Runs `function` on one of the threads, in the order asked for, and gives what it returns. It cannot be
  /// stopped: what takes long looks at a flag of its own. What `function` refers to lives until this returns.
  template <typename Function>
  Task<std::invoke_result_t<Function&>> run(Function function);

 private:
  class Turn;

  static void* enter(void* self);
  void work();
  bool start_thread();
  void enqueue(Job job);
  std::optional<Job> next_job();

  Reactor* reactor_;
  size_t max_threads_;
  Cpus cpus_;
  std::vector<pthread_t> threads_;
  Handover<Job> jobs_;
  sem_t posted_;  ///< as many as there are jobs that no thread has come for; at the end, one for each thread
  std::atomic<size_t> waiting_ = 0;  ///< the same number, late rather than early where a thread comes
  std::atomic<size_t> idle_ = 0;     ///< threads that wait for a job
  std::mutex taken_mutex_;           ///< the threads' alone
  std::deque<Job> taken_;
};

/// Suspends until the job has run.
class BlockingPool::Turn {
 public:
  Turn(BlockingPool& pool, Job job) : pool_(&pool), job_(std::move(job)) {}

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting);
  void await_resume() const noexcept {}

 private:
  BlockingPool* pool_;
  Job job_;
  Waiter waiter_;
};

template <typename Function>
Task<std::invoke_result_t<Function&>> BlockingPool::run(Function function) {
  using T = std::invoke_result_t<Function&>;
  if constexpr (std::is_void_v<T>) {
    co_await Turn(*this, [&function] { function(); });
  } else {
    std::optional<T> result;
    co_await Turn(*this, [&function, &result] { result.emplace(function()); });
    co_return std::move(*result);
  }
}

}  // namespace lambdo::reactor
