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

/// A thread inherits the filter of the one that starts it; a second one would only cost time.
thread_local bool is_confined = false;

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
}

VcpuThreads::~VcpuThreads() {
  std::vector<pthread_t> threads;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    CHECK(jobs_.empty());
    threads = std::exchange(threads_, {});
  }
  wake_up_.notify_all();
  for (const pthread_t thread : threads) ::pthread_join(thread, nullptr);
}

std::vector<pthread_t> VcpuThreads::take_finished() {
  std::vector<pthread_t> finished = std::exchange(finished_, {});
  for (const pthread_t thread : finished) {
    std::erase_if(threads_, [&](pthread_t other) { return ::pthread_equal(thread, other) != 0; });
  }
  return finished;
}

Result<> VcpuThreads::run(Job job) {
  std::vector<pthread_t> finished;
  Result<> added;
  {
    const std::lock_guard lock(mutex_);
    CHECK(!closing_);
    if (!filter_) return std::unexpected(filter_.error());
    finished = take_finished();
    jobs_.push_back(std::move(job));
    if (jobs_.size() > idle_) added = add_thread();
    if (!added) jobs_.pop_back();
  }
  wake_up_.notify_one();
  // These are past their last line of code: joining them waits for next to nothing.
  for (const pthread_t thread : finished) ::pthread_join(thread, nullptr);
  return added;
}

size_t VcpuThreads::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

Result<> VcpuThreads::add_thread() {
  pthread_attr_t attributes;
  CHECK(::pthread_attr_init(&attributes) == 0);
  CHECK(::pthread_attr_setstacksize(&attributes, kStackBytes) == 0);
  // A thread starts with its creator's mask: all blocked, so that none arrives before it is set up.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  auto* const entry = is_confined ? &VcpuThreads::enter_confined : &VcpuThreads::enter;
  const int error = ::pthread_create(&thread, &attributes, entry, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) {
    Error failed = errno_error(error, "starting a vCPU thread");
    failed.code = Code::resource_exhausted;
    return std::unexpected(std::move(failed));
  }
  threads_.push_back(thread);
  // It counts as idle from now on: the job that it was made for waits for it.
  ++idle_;
  ++count_;
  return {};
}

void* VcpuThreads::enter(void* self) {
  // A kernel with KVM has seccomp filters too; without, no server of ours starts.
  if (kConfine) CHECK(static_cast<VcpuThreads*>(self)->filter_->confine_thread().has_value());
  return enter_confined(self);
}

void* VcpuThreads::enter_confined(void* self) {
  is_confined = kConfine;
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
    wake_up_.wait(lock, [&] { return !jobs_.empty() || closing_; });
    if (jobs_.empty()) break;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
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
}

}  // namespace lambdo::kvm
