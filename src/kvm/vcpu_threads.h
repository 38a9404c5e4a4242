#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
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
  static constexpr size_t kStackBytes = 256 << 10;
  static constexpr size_t kMaxIdle = 32;

  /// Jobs post to `reactor`, which outlives this. Sets the process's handler of kick_signal(), which does
  /// nothing.
  explicit VcpuThreads(reactor::Reactor& reactor);
  /// All VMs are destroyed; joins all threads.
  ~VcpuThreads();
  VcpuThreads(const VcpuThreads&) = delete;
  VcpuThreads& operator=(const VcpuThreads&) = delete;

  /// Starts `job` on an idle thread or a new one. Thread-safe. resource_exhausted: no more threads; else what
  /// VcpuFilter::create failed with.
  Result<> run(Job job);

  /// Threads there are, busy or idle.
  [[nodiscard]] size_t count() const;
  [[nodiscard]] reactor::Reactor& reactor() const { return *reactor_; }

  /// What a vCPU is interrupted with, by tgkill(2) to its thread.
  static int kick_signal();

 private:
  static void* enter(void* self);
  static void* enter_confined(void* self);
  void work();
  Result<> add_thread();
  std::vector<pthread_t> take_finished();

  reactor::Reactor* reactor_;
  Result<VcpuFilter> filter_;
  mutable std::mutex mutex_;
  std::condition_variable wake_up_;
  std::deque<Job> jobs_;  // each has an idle or new thread that is on its way to take it
  size_t idle_ = 0;
  size_t count_ = 0;
  bool closing_ = false;
  std::vector<pthread_t> threads_;
  std::vector<pthread_t> finished_;  // to be joined
};

}  // namespace lambdo::kvm
