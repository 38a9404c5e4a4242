#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kvm/vcpu_filter.h"
#include "reactor/reactor.h"

namespace lambdo::kvm {

/// The threads that run vCPUs and do whatever may block with a VM's descriptors. A job has a thread to itself
/// from the start, so that no VM waits for another one's end; threads that have nothing to do are kept up to
/// a bound. They take no signal but the one that interrupts KVM_RUN, and are confined by VcpuFilter: a job
/// may use the heap, locks and KVM's ioctls, and opens nothing.
class VcpuThreads {
 public:
  using Job = std::move_only_function<void()>;
  using Failed = std::move_only_function<void(Error)>;
  static constexpr size_t kStackBytes = 256 << 10;
  static constexpr size_t kMaxIdle = 32;

  /// Jobs post to `reactor`, which outlives this. Sets the process's handler of kick_signal(), which does
  /// nothing.
  explicit VcpuThreads(reactor::Reactor& reactor);
  /// All VMs are destroyed; joins all threads.
  ~VcpuThreads();
  VcpuThreads(const VcpuThreads&) = delete;
  VcpuThreads& operator=(const VcpuThreads&) = delete;

  /// Starts `job` on an idle thread or a new one. Where there is no thread for it, `failed` is called in its
  /// place, on another thread or from inside: resource_exhausted, or what keeps threads from being confined.
  /// Thread-safe.
  void run(Job job, Failed failed);

  /// Threads there are for jobs, busy or idle.
  [[nodiscard]] size_t count() const;
  [[nodiscard]] reactor::Reactor& reactor() const { return *reactor_; }

  /// What a vCPU is interrupted with, by tgkill(2) to its thread.
  static int kick_signal();

 private:
  struct Order {
    Job job;
    Failed failed;
  };

  static void* enter_starter(void* self);
  static void* enter(void* self);
  Result<> confine_starter() const;
  void start_threads();
  void start_thread(std::unique_lock<std::mutex>& lock);
  void join_finished(std::unique_lock<std::mutex>& lock);
  void refuse_all(std::unique_lock<std::mutex>& lock, const Error& error);
  void work();

  reactor::Reactor* reactor_;
  Result<VcpuFilter> filter_;
  mutable std::mutex mutex_;
  std::condition_variable wake_up_;
  std::condition_variable starter_wake_up_;
  std::deque<Order> orders_;  // each has an idle or coming thread that is on its way to take it
  size_t idle_ = 0;           // the coming included
  size_t coming_ = 0;
  size_t count_ = 0;
  bool closing_ = false;
  std::optional<pthread_t> starter_;
  std::vector<pthread_t> threads_;
  std::vector<pthread_t> finished_;  // to be joined
};

}  // namespace lambdo::kvm
