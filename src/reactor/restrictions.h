#pragma once

#include <liburing.h>

#include "base/error.h"

namespace lambdo::reactor {

/// Allows a ring, made with IORING_SETUP_R_DISABLED, for good only what the reactor submits to it, and
/// enables it (io_uring_register(2), IORING_REGISTER_RESTRICTIONS). System calls that go through a ring are
/// seen by no seccomp filter: without this, whoever takes over the process could open files and make sockets
/// past it. A new kind of operation must be added to kRingOperations (ring_setup.h); the kernel answers
/// others with EACCES.
Result<> restrict_and_enable(const io_uring& ring);

}  // namespace lambdo::reactor
