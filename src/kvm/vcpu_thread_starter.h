#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kvm/vcpu_filter.h"

namespace lambdo::kvm {

/// Starts the threads that VcpuFilter confines. A thread inherits the filter of the one that started it, so
/// one thread, the starter, puts it on and starts all others: no VM's start waits for the kernel to check and
/// translate a filter once more.
class VcpuThreadStarter {
 public:
  class Client {
   public:
    /// The whole life of a new thread, called on it: with all signals blocked. Its last call to the starter
    /// is note_end().
    virtual void run_thread() = 0;
    /// On the starter's thread, in place of a run_thread(): resource_exhausted, or what keeps threads from
    /// being confined.
    virtual void thread_refused(const Error& error) = 0;

   protected:
    ~Client() = default;
  };
  static constexpr size_t kStackBytes = 256 << 10;

  /// `client` outlives the starter.
  explicit VcpuThreadStarter(Client& client);
  /// Joins all threads, which are about to end; those not started yet never are.
  ~VcpuThreadStarter();
  VcpuThreadStarter(const VcpuThreadStarter&) = delete;
  VcpuThreadStarter& operator=(const VcpuThreadStarter&) = delete;

  /// False where there is no starter thread, and so will be no other.
  [[nodiscard]] bool works() const { return thread_.has_value(); }
  /// Orders one more thread. Thread-safe; does not wait.
  void start_one();
  /// On a thread that ends now: it is to be joined.
  void note_end();

 private:
  // The starter's thread.
  static void* enter_starter(void* self);
  void serve_orders();
  [[nodiscard]] Result<> confine() const;
  void start_thread();
  void join(const std::vector<pthread_t>& ended);

  // The new threads.
  static void* enter_thread(void* self);

  Client& client_;
  const Result<VcpuFilter> filter_;
  std::mutex mutex_;
  std::condition_variable wake_up_;
  size_t ordered_ = 0;
  bool closing_ = false;
  std::vector<pthread_t> ended_;    // to be joined
  std::vector<pthread_t> threads_;  // started and not joined; the starter thread's alone while that runs
  std::optional<pthread_t> thread_;
};

}  // namespace lambdo::kvm
