#pragma once

#include "base/error.h"

namespace lambdo::server {

/// Puts a seccomp filter on this process, all its threads and those to come, for good: what a server that has
/// its launcher, its rings and no need to start anything is refused from then on. See the list in the .cc.
/// Sets no_new_privs. Errors: the kernel has no seccomp, or refuses.
Result<> install_server_filter();

}  // namespace lambdo::server
