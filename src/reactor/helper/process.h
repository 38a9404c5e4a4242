#pragma once

#include <sys/types.h>

#include <functional>
#include <span>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/helper/message.h"
#include "reactor/helper/socket.h"

namespace lambdo::helper {

/// A process forked from this one, with a socket between them. When the socket is closed, it ends by itself.
struct Process {
  Fd socket;
  pid_t pid = -1;
  Fd pidfd;
  Message first;  ///< what it said when it was ready
};

/// Forks a process that runs `main` with its end of the socket, and waits up to a minute for its first
/// message, which is of kind `ready`. The calling process must be single-threaded. Errors: what the process
/// failed with, or Code::timeout; it has ended then. `name` is for errors: "launcher".
Result<Process> start_process(const char* name, Protocol protocol, uint8_t ready,
                              const std::function<int(Fd socket)>& main);

/// In the new process: a session and name of its own; standard input and output are /dev/null, standard error
/// is kept for faults; of all other descriptors those in `kept` stay, moved to `first_free` and above, and
/// everything from 3 up to there is /dev/null. All signals have their default, and those that a terminal or
/// service manager sends to all processes of a service are blocked: the server's end shows on the socket.
/// Pairs with start_process().
Result<> settle_process(const char* process_name, std::span<Fd* const> kept, int first_free = 3);

}  // namespace lambdo::helper
