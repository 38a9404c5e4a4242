#include "reactor/stream.h"

#include <poll.h>
#include <sys/wait.h>

#include <cerrno>
#include <vector>

namespace lambdo::reactor {

static constexpr size_t kPlainReceiveBytes = 16384;

Task<Result<Chunk>> SocketStream::receive(CancelToken token) {
  if (reactor_->buffers().active()) {
    auto chunk = co_await ReceivePooledOp(*reactor_, socket_.get(), token);
    if (chunk || chunk.error().os_errno != ENOBUFS) co_return chunk;
    // All pooled buffers are lent: one of our own then.
  }
  std::vector<std::byte> buffer(kPlainReceiveBytes);
  const size_t count = CO_TRY(co_await ReceiveOp(*reactor_, socket_.get(), buffer, token));
  buffer.resize(count);
  co_return Chunk(std::move(buffer));
}

Task<Result<size_t>> SocketStream::receive_into(std::span<std::byte> buffer, CancelToken token) {
  co_return co_await ReceiveOp(*reactor_, socket_.get(), buffer, token);
}

Task<Result<>> SocketStream::send(std::span<const std::byte> data, CancelToken token) {
  while (!data.empty()) {
    const size_t count = CO_TRY(co_await SendOp(*reactor_, socket_.get(), data, token));
    data = data.subspan(count);
  }
  co_return Result<>{};
}

void SocketStream::shutdown_write() {
  ::shutdown(socket_.get(), SHUT_WR);
}

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
