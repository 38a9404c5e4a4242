#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <span>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"

/// One request to the kernel each, awaited once where it was made:
///
///   size_t count = CO_TRY(co_await ReadOp(reactor, fd, buffer, token));
///
/// The descriptor and the buffer must live until the await returns. A cancelled token asks the kernel to
/// stop; the await still returns only when the kernel is done with the buffer: with Code::cancelled, or with
/// the result that came first. Closing the descriptor ends nothing: the kernel holds the file until the
/// operation is done or cancelled.
///
/// Leave O_NONBLOCK off: with it the kernel answers EAGAIN where it would otherwise wait.
namespace lambdo::reactor {

/// What all single-shot operations share: one submission, one completion, one waiting coroutine.
class SingleOperation : public Operation, private CancelHook {
 public:
  [[nodiscard]] bool await_ready() const noexcept { return false; }

 protected:
  SingleOperation(Reactor& reactor, CancelToken token) : Operation(reactor), token_(token) {}
  ~SingleOperation() = default;

  /// The entry to prepare, nullptr where the token is cancelled already; follow with `launch`.
  io_uring_sqe* begin(std::coroutine_handle<> awaiting);
  /// Sets who is told. Prepare functions clear user_data, so this comes after them.
  void launch(io_uring_sqe& entry);
  [[nodiscard]] int result() const { return result_; }
  [[nodiscard]] uint32_t flags() const { return flags_; }
  /// The completion as a count of bytes or an error that names the call.
  [[nodiscard]] Result<size_t> count(const char* call) const;
  [[nodiscard]] Result<> success(const char* call) const;

 private:
  void complete(int result, uint32_t flags) override;
  void on_cancel() override { request_cancel(); }

  CancelToken token_;
  Waiter waiter_;
  int result_ = 0;
  uint32_t flags_ = 0;
};

/// read(2); 0 bytes is the end of the file. `offset` -1 uses and moves the file's position.
class ReadOp final : public SingleOperation {
 public:
  ReadOp(Reactor& reactor, int fd, std::span<std::byte> buffer, CancelToken token = {}, int64_t offset = -1)
      : SingleOperation(reactor, token), fd_(fd), buffer_(buffer), offset_(offset) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("read"); }

 private:
  int fd_;
  std::span<std::byte> buffer_;
  int64_t offset_;
};

/// write(2), which may write less than given. The process must ignore SIGPIPE: a pipe without readers raises
/// it here as in write(2). Sockets are better served by SendOp.
class WriteOp final : public SingleOperation {
 public:
  WriteOp(Reactor& reactor, int fd, std::span<const std::byte> data, CancelToken token = {},
          int64_t offset = -1)
      : SingleOperation(reactor, token), fd_(fd), data_(data), offset_(offset) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("write"); }

 private:
  int fd_;
  std::span<const std::byte> data_;
  int64_t offset_;
};

/// recv(2) into the caller's buffer; 0 bytes is the end of the stream.
class ReceiveOp final : public SingleOperation {
 public:
  ReceiveOp(Reactor& reactor, int fd, std::span<std::byte> buffer, CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd), buffer_(buffer) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("recv"); }

 private:
  int fd_;
  std::span<std::byte> buffer_;
};

/// recv(2) into a buffer of the reactor's pool, picked when data is there. Code::resource_exhausted with
/// ENOBUFS where the pool is empty at that moment: use ReceiveOp then. Only where reactor.buffers().active().
class ReceivePooledOp final : public SingleOperation {
 public:
  ReceivePooledOp(Reactor& reactor, int fd, CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<Chunk> await_resume();

 private:
  int fd_;
};

/// send(2) with MSG_NOSIGNAL, which may send less than given.
class SendOp final : public SingleOperation {
 public:
  SendOp(Reactor& reactor, int fd, std::span<const std::byte> data, CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd), data_(data) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("send"); }

 private:
  int fd_;
  std::span<const std::byte> data_;
};

/// sendmsg(2) with MSG_NOSIGNAL. `message` and all it points to live until the await returns.
class SendMessageOp final : public SingleOperation {
 public:
  SendMessageOp(Reactor& reactor, int fd, const msghdr& message, CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd), message_(&message) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("sendmsg"); }

 private:
  int fd_;
  const msghdr* message_;
};

/// recvmsg(2) with MSG_CMSG_CLOEXEC. `message` and all it points to live until the await returns.
class ReceiveMessageOp final : public SingleOperation {
 public:
  ReceiveMessageOp(Reactor& reactor, int fd, msghdr& message, CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd), message_(&message) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("recvmsg"); }

 private:
  int fd_;
  msghdr* message_;
};

/// accept4(2) with SOCK_CLOEXEC.
class AcceptOp final : public SingleOperation {
 public:
  AcceptOp(Reactor& reactor, int fd, CancelToken token = {}) : SingleOperation(reactor, token), fd_(fd) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<Fd> await_resume();

 private:
  int fd_;
};

/// connect(2). The address is copied.
class ConnectOp final : public SingleOperation {
 public:
  ConnectOp(Reactor& reactor, int fd, const sockaddr_storage& address, socklen_t len_bytes,
            CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd), address_(address), len_bytes_(len_bytes) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<> await_resume() { return success("connect"); }

 private:
  int fd_;
  sockaddr_storage address_;
  socklen_t len_bytes_;
};

/// Waits until one of the POLL* `events` is there; gives those that are.
class PollOp final : public SingleOperation {
 public:
  PollOp(Reactor& reactor, int fd, unsigned events, CancelToken token = {})
      : SingleOperation(reactor, token), fd_(fd), events_(events) {}
  bool await_suspend(std::coroutine_handle<> awaiting);
  Result<size_t> await_resume() { return count("poll"); }

 private:
  int fd_;
  unsigned events_;
};

}  // namespace lambdo::reactor
