#include "reactor/stream.h"

#include <sys/socket.h>

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

}  // namespace lambdo::reactor
