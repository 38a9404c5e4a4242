#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

#include "base/error.h"
#include "kvm/vcpu_thread_starter.h"

namespace lambdo::kvm {

/// The threads that run vCPUs and do whatever may block with a VM's descriptors. A job has a thread to itself
/// from the start, so that no VM waits for another one's end; threads that have nothing to do are kept up to
/// a bound. They take no signal but the one that interrupts KVM_RUN, and are confined by VcpuFilter: a job
/// may use the heap, locks and KVM's ioctls, and opens nothing.
///
/// | thread                      | runs                                                          |
/// |-----------------------------|---------------------------------------------------------------|
/// | any, such as the reactor's  | run(): gives the job to an idle thread, or orders a new one   |
/// | "lambdo-starter", one       | VcpuThreadStarter: starts threads, tells of those it cannot   |
/// | "lambdo-vcpu", one a job    | run_thread(): takes one job after another                     |
class VcpuThreads final : private VcpuThreadStarter::Client {
 public:
  using Job = std::move_only_function<void()>;
  using Failed = std::move_only_function<void(Error)>;
  static constexpr size_t kMaxIdle = 32;

  /// Sets the process's handler of kick_signal(), which does nothing.
  VcpuThreads();
  /// All VMs are destroyed; joins all threads.
  ~VcpuThreads();
  VcpuThreads(const VcpuThreads&) = delete;
  VcpuThreads& operator=(const VcpuThreads&) = delete;

  /// Starts `job` on an idle thread or a new one. Where there is no thread for it, `failed` is called in its
  /// place, on another thread or from inside: resource_exhausted, or what keeps threads from being confined.
  /// Thread-safe.
  void run(Job job, Failed failed);

  /// Threads there are for jobs, busy or idle, and those that have been ordered.
  [[nodiscard]] size_t count() const;

  /// What a vCPU is interrupted with, by tgkill(2) to its thread.
  static int kick_signal();

 private:
  struct Order {
    Job job;
    Failed failed;
  };

  // On a new thread.
  void run_thread() override;
  void take_jobs();
  // On the starter's thread.
  void thread_refused(const Error& error) override;

  mutable std::mutex mutex_;
  std::condition_variable wake_up_;
  std::deque<Order> orders_;  // never more than idle_: a thread is on its way to take each
  size_t idle_ = 0;           // those ordered included: the job that a thread is ordered for waits for it
  size_t count_ = 0;          // likewise
  bool closing_ = false;
  VcpuThreadStarter starter_;  // its end joins all threads, which use what stands above
};

}  // namespace lambdo::kvm
