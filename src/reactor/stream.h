#pragma once

#include <memory>
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

/// A listening TCP socket. `host` is an IPv4 or IPv6 address literal; port 0 lets the kernel choose.
class Listener {
 public:
  static Result<Listener> listen_tcp(Reactor& reactor, const std::string& host, uint16_t port,
                                     int backlog = 1024);

  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  /// The next connection, with TCP_NODELAY set. Errors of a single connection are skipped;
  /// Code::resource_exhausted (out of descriptors or memory) is for the caller to wait out. One caller at a
  /// time.
  Task<Result<Fd>> accept(CancelToken token);
  /// Takes no more connections. Await before the listener dies where `accept` has been called; an `accept`
  /// that waits must be cancelled and have returned first.
  Task<> close();
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  class Acceptor;
  Listener(Reactor& reactor, Fd socket, uint16_t port);

  Reactor* reactor_;
  Fd socket_;
  uint16_t port_;
  std::unique_ptr<Acceptor> acceptor_;
};

/// Connects to a TCP `host` (an address literal) and `port`.
Task<Result<Fd>> connect_tcp(Reactor& reactor, std::string host, uint16_t port, CancelToken token = {});

/// Waits until the process behind `pidfd` has ended and, where it is a child of ours, reaps it: its exit
/// code, or 128 + the signal that ended it. For another's child -1.
Task<Result<int>> wait_process(Reactor& reactor, int pidfd, CancelToken token = {});

}  // namespace lambdo::reactor
