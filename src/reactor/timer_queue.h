#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lambdo::reactor {

class Reactor;
class TimerQueue;

/// Something that happens at a moment of CLOCK_MONOTONIC, in nanoseconds.
class Timer {
 public:
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 protected:
  explicit Timer(Reactor& reactor) : reactor_(&reactor) {}
  ~Timer() { disarm(); }

  /// Called once from the loop, disarmed already; may arm again.
  virtual void fire() = 0;
  void arm(int64_t deadline_ns);
  void disarm();
  [[nodiscard]] Reactor& reactor() const { return *reactor_; }

 private:
  friend TimerQueue;
  static constexpr size_t kNotArmed = SIZE_MAX;
  Reactor* reactor_;
  int64_t deadline_ns_ = 0;
  size_t heap_index_ = kNotArmed;
};

/// The armed timers of a reactor, the one with the next deadline first.
class TimerQueue {
 public:
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  /// There must be a timer.
  [[nodiscard]] int64_t next_deadline_ns() const { return heap_.front()->deadline_ns_; }
  /// Disarms and fires all whose deadline is not after `now_ns`, also those that are armed meanwhile.
  void fire_due(int64_t now_ns);

 private:
  friend Timer;
  void add(Timer& timer);
  void remove(Timer& timer);
  void sift_up(size_t index);
  void sift_down(size_t index);
  void place(size_t index, Timer* timer);

  std::vector<Timer*> heap_;  // binary min-heap by deadline
};

}  // namespace lambdo::reactor
