#include "reactor/blocking_pool.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>

namespace lambdo::reactor {

namespace {

void leave_one_cpu() {
  cpu_set_t cpus;
  if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) < 2) return;
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &cpus)) --last;
  CPU_CLR(last, &cpus);
  static_cast<void>(::sched_setaffinity(0, sizeof cpus, &cpus));
}

}  // namespace

BlockingPool::BlockingPool(Reactor& reactor, size_t max_threads, Cpus cpus)
    : reactor_(&reactor), max_threads_(max_threads), cpus_(cpus) {
  CHECK(max_threads_ > 0);
}

BlockingPool::~BlockingPool() {
  {
    const std::lock_guard lock(mutex_);
    CHECK(jobs_.empty());
    closing_ = true;
  }
  wake_up_.notify_all();
  for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
}

void BlockingPool::enqueue(Job job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() <= idle_ || threads_.size() == max_threads_) {
      wake_up_.notify_one();
      return;
    }
  }
  // Signals are the main thread's to take.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  const int status = ::pthread_create(&thread, nullptr, &BlockingPool::enter, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (status == 0) {
    threads_.push_back(thread);
    return;
  }
  // The threads there are will come to it; without any, it is done here, late rather than never.
  if (threads_.empty()) {
    Job only = std::move(jobs_.front());
    jobs_.pop_front();
    only();
  }
}

void* BlockingPool::enter(void* self) {
  ::pthread_setname_np(::pthread_self(), "lambdo-blocking");
  // Linux keeps a nice value per thread; that it cannot be set only costs the others some time.
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice));
  auto* const pool = static_cast<BlockingPool*>(self);
  if (pool->cpus_ == Cpus::all_but_one) leave_one_cpu();
  pool->work();
  return nullptr;
}

void BlockingPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_up_.wait(lock, [this] { return closing_ || !jobs_.empty(); });
    --idle_;
    if (jobs_.empty()) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    job();
    lock.lock();
  }
}

void BlockingPool::Turn::await_suspend(std::coroutine_handle<> awaiting) {
  waiter_.handle = awaiting;
  // The job is taken out first: this object may be gone as soon as it is queued.
  pool_->enqueue([reactor = pool_->reactor_, waiter = &waiter_, job = std::move(job_)]() mutable {
    job();
    reactor->mailbox().post([reactor, waiter] { reactor->resume_later(*waiter); });
  });
}

}  // namespace lambdo::reactor
