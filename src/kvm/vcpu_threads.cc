#include "kvm/vcpu_threads.h"

#include <sys/resource.h>

#include <csignal>
#include <utility>

#include "base/check.h"

namespace lambdo::kvm {

namespace {

// Sanitizers open files and make maps of their own from any thread.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kConfine = false;
#else
constexpr bool kConfine = true;
#endif

/// Starts a thread with all signals blocked, so that none arrives before it is set up. The errno.
int create_thread(pthread_t& thread, void* (*entry)(void*), void* argument) {
  pthread_attr_t attributes;
  CHECK(::pthread_attr_init(&attributes) == 0);
  CHECK(::pthread_attr_setstacksize(&attributes, VcpuThreads::kStackBytes) == 0);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread, &attributes, entry, argument);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return error;
}

Error no_thread(int os_errno) {
  return errno_error(os_errno, "starting a vCPU thread").with_code(Code::resource_exhausted);
}

}  // namespace

int VcpuThreads::kick_signal() {
  // A standard signal and no real-time one: those are queued, and tgkill(2) is refused where the user's queue
  // is full (RLIMIT_SIGPENDING), which anybody under the same user can bring about.
  return SIGUSR1;
}

VcpuThreads::VcpuThreads(reactor::Reactor& reactor) : reactor_(&reactor), filter_(VcpuFilter::create()) {
  // Without SA_RESTART and with a handler of its own, the signal does the one thing it is for: it ends a
  // system call.
  struct sigaction action{};
  action.sa_handler = [](int) {};
  sigemptyset(&action.sa_mask);
  CHECK(::sigaction(kick_signal(), &action, nullptr) == 0);
  // Every thread inherits the filter of the one that started it: so one thread puts it on and starts all
  // others, and no VM's start waits for the kernel to check and translate a filter once more.
  pthread_t starter{};
  if (create_thread(starter, &VcpuThreads::enter_starter, this) == 0) starter_ = starter;
}

VcpuThreads::~VcpuThreads() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    CHECK(orders_.empty());
  }
  wake_up_.notify_all();
  starter_wake_up_.notify_all();
  if (starter_) ::pthread_join(*starter_, nullptr);
  for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
}

void VcpuThreads::run(Job job, Failed failed) {
  if (!starter_) return failed(no_thread(EAGAIN));
  const std::lock_guard lock(mutex_);
  CHECK(!closing_);
  orders_.push_back({std::move(job), std::move(failed)});
  if (orders_.size() <= idle_) return wake_up_.notify_one();
  // A thread counts as idle from the moment it is wanted: the job that it is for waits for it.
  ++idle_;
  ++coming_;
  starter_wake_up_.notify_one();
}

size_t VcpuThreads::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

// ---- the thread that starts the others

void* VcpuThreads::enter_starter(void* self) {
  ::pthread_setname_np(::pthread_self(), "lambdo-starter");
  static_cast<VcpuThreads*>(self)->start_threads();
  return nullptr;
}

Result<> VcpuThreads::confine_starter() const {
  if (!filter_) return std::unexpected(filter_.error());
  return kConfine ? filter_->confine_thread() : Result<>();
}

void VcpuThreads::start_threads() {
  const Result<> confined = confine_starter();
  std::unique_lock lock(mutex_);
  while (true) {
    starter_wake_up_.wait(lock, [&] { return coming_ > 0 || !finished_.empty() || closing_; });
    if (closing_) return;
    if (!confined) {
      refuse_all(lock, confined.error());
      continue;
    }
    if (coming_ > 0) start_thread(lock);
    join_finished(lock);
  }
}

void VcpuThreads::start_thread(std::unique_lock<std::mutex>& lock) {
  --coming_;
  ++count_;
  pthread_t thread{};
  lock.unlock();
  const int error = create_thread(thread, &VcpuThreads::enter, this);
  lock.lock();
  if (error == 0) {
    threads_.push_back(thread);
    return;
  }
  --count_;
  --idle_;
  // A thread that became idle meanwhile may have taken the job.
  if (orders_.size() <= idle_) return;
  Failed failed = std::move(orders_.back().failed);
  orders_.pop_back();
  lock.unlock();
  failed(no_thread(error));
  lock.lock();
}

void VcpuThreads::refuse_all(std::unique_lock<std::mutex>& lock, const Error& error) {
  idle_ -= std::exchange(coming_, 0);
  std::deque<Order> refused = std::exchange(orders_, {});
  lock.unlock();
  for (Order& order : refused) order.failed(error);
  lock.lock();
}

void VcpuThreads::join_finished(std::unique_lock<std::mutex>& lock) {
  const std::vector<pthread_t> finished = std::exchange(finished_, {});
  for (const pthread_t thread : finished) {
    std::erase_if(threads_, [&](pthread_t other) { return ::pthread_equal(thread, other) != 0; });
  }
  lock.unlock();
  // These are past their last line of code.
  for (const pthread_t thread : finished) ::pthread_join(thread, nullptr);
  lock.lock();
}

// ---- the threads for jobs

void* VcpuThreads::enter(void* self) {
  ::pthread_setname_np(::pthread_self(), "lambdo-vcpu");
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
  // The server's thread may have raised its priority, and ours is inherited from it: guests get none of that.
  if (::getpriority(PRIO_PROCESS, 0) < 0) ::setpriority(PRIO_PROCESS, 0, 0);
  static_cast<VcpuThreads*>(self)->work();
  return nullptr;
}

void VcpuThreads::work() {
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
  finished_.push_back(::pthread_self());
  starter_wake_up_.notify_one();
}

}  // namespace lambdo::kvm
