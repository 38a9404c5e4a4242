#pragma once

#include <string>

#include "base/error.h"

namespace lambdo::reactor {

/// What this kernel's io_uring has of what the reactor uses.
struct UringSupport {
  int setup_errno = 0;  ///< of io_uring_setup(2) with the reactor's flags; not 0: nothing else is known
  std::string missing_operations;  ///< names, with commas; empty: all are there
  bool multishot_accept = false;   ///< stays armed after its first connection
  bool provided_buffers = false;   ///< a multishot receive takes from a ring of them and stays armed
};

/// Sets up rings as the reactor does and tries what it uses, with sockets of its own. Blocks for a few
/// milliseconds, for at most 2 s where the kernel does not answer.
UringSupport probe_uring();

}  // namespace lambdo::reactor
