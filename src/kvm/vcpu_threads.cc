#include "kvm/vcpu_threads.h"

#include <pthread.h>
#include <sys/resource.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "base/check.h"

namespace lambdo::kvm {

int VcpuThreads::kick_signal() {
  // A standard signal and no real-time one: those are queued, and tgkill(2) is refused where the user's queue
  // is full (RLIMIT_SIGPENDING), which anybody under the same user can bring about.
  return SIGUSR1;
}

VcpuThreads::VcpuThreads() : starter_(*this) {
  // Without SA_RESTART and with a handler of its own, the signal does the one thing it is for: it ends a
  // system call.
  struct sigaction action{};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  CHECK(::sigaction(kick_signal(), &action, nullptr) == 0);
}

VcpuThreads::~VcpuThreads() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    CHECK(orders_.empty());
  }
  wake_up_.notify_all();
}

void VcpuThreads::run(Job job, Failed failed) {
  if (!starter_.works()) {
    return failed(errno_error(EAGAIN, "starting a vCPU thread").with_code(Code::resource_exhausted));
  }
  const std::lock_guard lock(mutex_);
  CHECK(!closing_);
  orders_.push_back({std::move(job), std::move(failed)});
  if (orders_.size() <= idle_) return wake_up_.notify_one();
  ++idle_;
  ++count_;
  starter_.start_one();
}

size_t VcpuThreads::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

// ---- the starter's thread

void VcpuThreads::thread_refused(const Error& error) {
  std::unique_lock lock(mutex_);
  --count_;
  --idle_;
  // A thread that became idle meanwhile may have taken the job.
  if (orders_.size() <= idle_) return;
  Order refused = std::move(orders_.back());
  orders_.pop_back();
  lock.unlock();
  refused.failed(error);
}

// ---- the threads for jobs

void VcpuThreads::run_thread() {
  ::pthread_setname_np(::pthread_self(), "lambdo-vcpu");
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
  // The server's thread may have raised its priority, and ours is inherited from it: guests get none of that.
  if (::getpriority(PRIO_PROCESS, 0) < 0) ::setpriority(PRIO_PROCESS, 0, 0);
  take_jobs();
}

void VcpuThreads::take_jobs() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_up_.wait(lock, [&] { return !orders_.empty() || closing_; });
    if (orders_.empty()) return;
    Job job = std::move(orders_.front().job);
    orders_.pop_front();
    --idle_;
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
    if (idle_ >= kMaxIdle) break;
    ++idle_;
  }
  --count_;
  starter_.note_end();
}

}  // namespace lambdo::kvm
