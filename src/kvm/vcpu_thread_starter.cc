#include "kvm/vcpu_thread_starter.h"

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
  CHECK(::pthread_attr_setstacksize(&attributes, VcpuThreadStarter::kStackBytes) == 0);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread, &attributes, entry, argument);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  return error;
}

}  // namespace

VcpuThreadStarter::VcpuThreadStarter(Client& client) : client_(client), filter_(VcpuFilter::create()) {
  pthread_t thread{};
  if (create_thread(thread, &VcpuThreadStarter::enter_starter, this) == 0) thread_ = thread;
}

VcpuThreadStarter::~VcpuThreadStarter() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wake_up_.notify_all();
  if (thread_) ::pthread_join(*thread_, nullptr);
  for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
}

void VcpuThreadStarter::start_one() {
  const std::lock_guard lock(mutex_);
  ++ordered_;
  wake_up_.notify_one();
}

void VcpuThreadStarter::note_end() {
  const std::lock_guard lock(mutex_);
  ended_.push_back(::pthread_self());
  wake_up_.notify_one();
}

// ---- the starter's thread

void* VcpuThreadStarter::enter_starter(void* self) {
  ::pthread_setname_np(::pthread_self(), "lambdo-starter");
  static_cast<VcpuThreadStarter*>(self)->serve_orders();
  return nullptr;
}

Result<> VcpuThreadStarter::confine() const {
  if (!filter_) return std::unexpected(filter_.error());
  return kConfine ? filter_->confine_thread() : Result<>();
}

void VcpuThreadStarter::serve_orders() {
  const Result<> confined = confine();
  std::unique_lock lock(mutex_);
  while (true) {
    wake_up_.wait(lock, [&] { return ordered_ > 0 || !ended_.empty() || closing_; });
    if (closing_) return;
    const bool is_ordered = ordered_ > 0;
    if (is_ordered) --ordered_;
    const std::vector<pthread_t> ended = std::exchange(ended_, {});
    // Nothing below may hold up those who order threads, such as the reactor.
    lock.unlock();
    if (is_ordered && confined) start_thread();
    if (is_ordered && !confined) client_.thread_refused(confined.error());
    join(ended);
    lock.lock();
  }
}

void VcpuThreadStarter::start_thread() {
  pthread_t thread{};
  const int error = create_thread(thread, &VcpuThreadStarter::enter_thread, this);
  if (error == 0) {
    threads_.push_back(thread);
  } else {
    client_.thread_refused(errno_error(error, "starting a vCPU thread").with_code(Code::resource_exhausted));
  }
}

void VcpuThreadStarter::join(const std::vector<pthread_t>& ended) {
  for (const pthread_t thread : ended) {
    std::erase_if(threads_, [&](pthread_t other) { return ::pthread_equal(thread, other) != 0; });
    // It is past its last line of code.
    ::pthread_join(thread, nullptr);
  }
}

// ---- the threads that it starts

void* VcpuThreadStarter::enter_thread(void* self) {
  static_cast<VcpuThreadStarter*>(self)->client_.run_thread();
  return nullptr;
}

}  // namespace lambdo::kvm
