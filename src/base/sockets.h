#pragma once

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::sys {

/// Sets O_NONBLOCK, for libraries that watch a descriptor themselves.
Result<> set_nonblocking(const Fd& fd);

/// Brings up the loopback interface of the network namespace that the calling thread is in; the kernel makes
/// it, down.
Result<> raise_loopback();

}  // namespace lambdo::sys
