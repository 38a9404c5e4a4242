#include "reactor/timer_queue.h"

#include <utility>

#include "reactor/reactor.h"

namespace lambdo::reactor {

void Timer::arm(int64_t deadline_ns) {
  disarm();
  deadline_ns_ = deadline_ns;
  reactor_->timers_.add(*this);
}

void Timer::disarm() {
  if (heap_index_ != kNotArmed) reactor_->timers_.remove(*this);
}

void TimerQueue::fire_due(int64_t now_ns) {
  while (!heap_.empty() && heap_.front()->deadline_ns_ <= now_ns) {
    Timer* due = heap_.front();
    due->disarm();
    due->fire();
  }
}

void TimerQueue::add(Timer& timer) {
  heap_.push_back(&timer);
  timer.heap_index_ = heap_.size() - 1;
  sift_up(timer.heap_index_);
}

void TimerQueue::remove(Timer& timer) {
  const size_t index = std::exchange(timer.heap_index_, Timer::kNotArmed);
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(index, last);
  sift_up(index);
  sift_down(last->heap_index_);
}

void TimerQueue::place(size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->heap_index_ = index;
}

void TimerQueue::sift_up(size_t index) {
  Timer* timer = heap_[index];
  while (index > 0 && timer->deadline_ns_ < heap_[(index - 1) / 2]->deadline_ns_) {
    place(index, heap_[(index - 1) / 2]);
    index = (index - 1) / 2;
  }
  place(index, timer);
}

void TimerQueue::sift_down(size_t index) {
  Timer* timer = heap_[index];
  while (true) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ns_ < heap_[child]->deadline_ns_) ++child;
    if (timer->deadline_ns_ <= heap_[child]->deadline_ns_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

}  // namespace lambdo::reactor
