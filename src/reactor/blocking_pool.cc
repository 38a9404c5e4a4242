#include "reactor/blocking_pool.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

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
  CHECK(::sem_init(&posted_, 0, 0) == 0);
}

BlockingPool::~BlockingPool() {
  CHECK(waiting_ == 0);
  for (size_t i = 0; i < threads_.size(); ++i) ::sem_post(&posted_);
  for (const pthread_t thread : threads_) ::pthread_join(thread, nullptr);
  ::sem_destroy(&posted_);
}

bool BlockingPool::start_thread() {
  // Signals are the main thread's to take.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  const int status = ::pthread_create(&thread, nullptr, &BlockingPool::enter, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (status == 0) threads_.push_back(thread);
  return status == 0;
}

void BlockingPool::enqueue(Job job) {
  if (++waiting_ > idle_ && threads_.size() < max_threads_ && !start_thread() && threads_.empty()) {
    // Done here, late rather than never. With any thread it is that one's, when it comes to it.
    --waiting_;
    job();
    return;
  }
  jobs_.push(std::move(job));
  ::sem_post(&posted_);
}

std::optional<BlockingPool::Job> BlockingPool::next_job() {
  ++idle_;
  while (::sem_wait(&posted_) != 0) CHECK(errno == EINTR);
  --idle_;
  const std::lock_guard lock(taken_mutex_);
  if (taken_.empty()) jobs_.take_all([this](Job job) { taken_.push_back(std::move(job)); });
  if (taken_.empty()) return std::nullopt;  // the pool ends
  Job job = std::move(taken_.front());
  taken_.pop_front();
  --waiting_;
  return job;
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
  while (auto job = next_job()) (*job)();
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
