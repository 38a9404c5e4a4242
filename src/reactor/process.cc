#include "reactor/process.h"

#include <poll.h>
#include <sys/wait.h>

#include <cerrno>

#include "reactor/operations.h"

namespace lambdo::reactor {

Task<Result<int>> wait_process(Reactor& reactor, int pidfd, CancelToken token) {
  CO_TRY(co_await PollOp(reactor, pidfd, POLLIN, token));
  siginfo_t info{};
  if (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) < 0) {
    if (errno == ECHILD) co_return -1;
    co_return fail_errno("waitid");
  }
  // Ended, yet not ours to reap now: a debugger that traces it comes first.
  if (info.si_pid == 0) co_return fail(Code::unavailable, "the process ended while being traced");
  co_return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

}  // namespace lambdo::reactor
