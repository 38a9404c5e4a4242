#pragma once

#include "base/error.h"

namespace lambdo::server {

/// Puts a seccomp filter on this process, all its threads and those to come, for good. Called once the
/// launcher is forked and the rings exist; the tables in the .cc say what is denied from then on. Sets
/// no_new_privs. Errors: the kernel has no seccomp, or refuses.
Result<> install_server_filter();

}  // namespace lambdo::server
