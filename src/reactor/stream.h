#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/cancel.h"
#include "reactor/operations.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::reactor {

/// A connection's two byte streams. One reader and one writer may be active at a time; both must have
/// returned before the stream dies.
class Stream {
 public:
  virtual ~Stream() = default;
  /// What has come, at least one byte; an empty chunk at the end of the stream.
  virtual Task<Result<Chunk>> receive(CancelToken token) = 0;
  /// The same into the caller's `buffer`, for much at once; 0 bytes at the end of the stream.
  virtual Task<Result<size_t>> receive_into(std::span<std::byte> buffer, CancelToken token) = 0;
  /// Writes all of `data`, which must live until this returns.
  virtual Task<Result<>> send(std::span<const std::byte> data, CancelToken token) = 0;
  /// Tells the peer that no more data comes; what it sends can still be received.
  virtual void shutdown_write() = 0;
};

/// A connected stream socket: TCP, Unix or vsock.
class SocketStream final : public Stream {
 public:
  SocketStream(Reactor& reactor, Fd socket) : reactor_(&reactor), socket_(std::move(socket)) {}

  Task<Result<Chunk>> receive(CancelToken token) override;
  Task<Result<size_t>> receive_into(std::span<std::byte> buffer, CancelToken token) override;
  Task<Result<>> send(std::span<const std::byte> data, CancelToken token) override;
  void shutdown_write() override;
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  Reactor* reactor_;
  Fd socket_;
};

/// The bytes of a text, for `send`.
inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace lambdo::reactor
