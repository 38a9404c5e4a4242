#pragma once

#include <cstdint>

#include "reactor/reactor.h"
#include "reactor/task.h"
#include "reactor/timer.h"

namespace lambdo::reactor {

/// Lets the loop run until `condition` holds; false where it does not within two seconds.
template <typename Condition>
Task<bool> eventually(Reactor& reactor, Condition condition) {
  const int64_t deadline_ns = reactor.now_ns() + 2'000'000'000;
  while (!condition()) {
    if (reactor.now_ns() > deadline_ns) co_return false;
    static_cast<void>(co_await SleepOp::until(reactor, reactor.now_ns() + 20'000));
  }
  co_return true;
}

}  // namespace lambdo::reactor
