#pragma once

#include <optional>

#include "reactor/event.h"
#include "reactor/reactor.h"

namespace lambdo::vsock {

/// A call of the host's that waits for the guest's answer. Lives in the frame of the coroutine that waits.
struct Dial {
  explicit Dial(reactor::Reactor& reactor) : answered(reactor) {}

  reactor::Event answered;
  std::optional<bool> established;
};

}  // namespace lambdo::vsock
