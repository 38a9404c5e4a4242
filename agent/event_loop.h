#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::agent {

/// The one loop of the agent's server process: waits for descriptors (epoll(7), level-triggered) and calls
/// their handlers, one after another.
class EventLoop {
 public:
  /// `events` are EPOLL* bits.
  using Handler = std::function<void(uint32_t events)>;

  static Result<EventLoop> create();

  /// Calls `handler` whenever one of `events` is there, until forget(). One handler for each descriptor.
  Result<> watch(int fd, uint32_t events, Handler handler);
  Result<> change(int fd, uint32_t events);
  /// Before `fd` is closed. Its handler may be the running one; it is not called again.
  void forget(int fd);

  /// Waits until something happens, `timeout_ms` at most (-1: for ever), and handles it.
  void turn(int timeout_ms = -1);

 private:
  struct Watch {
    uint64_t id;
    Handler handler;
  };

  explicit EventLoop(Fd epoll) : epoll_(std::move(epoll)) {}

  Fd epoll_;
  uint64_t next_id_ = 0;
  std::unordered_map<int, Watch> watches_;
};

}  // namespace lambdo::agent
