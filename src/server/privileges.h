#pragma once

#include "base/error.h"

namespace lambdo::server {

/// Gives up for good what the server needs no more once its launcher runs: all capabilities but the one to
/// bind a low port, and new ones by executing a program. For all threads started after. Does nothing where
/// there are none.
Result<> drop_privileges();

/// Lets the calling thread, the event loop's, go before the programs that it serves: they are many, and it
/// must meet their deadlines. Threads and processes that it starts later are ordinary again. A wish: without
/// the permission nothing changes.
void raise_priority();

}  // namespace lambdo::server
