#pragma once

#include "base/error.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::reactor {

/// Waits until the process behind `pidfd` has ended and, where it is a child of ours, reaps it: its exit
/// code, or 128 + the signal that ended it. For another's child -1.
Task<Result<int>> wait_process(Reactor& reactor, int pidfd, CancelToken token = {});

}  // namespace lambdo::reactor
