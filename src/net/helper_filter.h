// The seccomp filter of the network helper.
#pragma once

#include "base/error.h"

namespace lambdo::net {

/// Leaves the calling process, which is single-threaded, the system calls that HostNetwork and the messages
/// of its server need; all others fail with EPERM. No program is executed, no process or thread started, no
/// socket opened but netlink's and that of the bridge's lock.
Result<> install_helper_filter();

}  // namespace lambdo::net
