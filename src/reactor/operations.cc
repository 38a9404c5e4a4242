#include "reactor/operations.h"

#include <cerrno>

#include "base/check.h"

namespace lambdo::reactor {

// io_uring lengths are 32 bits; more than this at once gains nothing.
static constexpr size_t kMaxTransferBytes = 1U << 30;

static unsigned transfer_len(size_t len_bytes) {
  return static_cast<unsigned>(len_bytes < kMaxTransferBytes ? len_bytes : kMaxTransferBytes);
}

io_uring_sqe* SingleOperation::begin(std::coroutine_handle<> awaiting) {
  if (token_.cancelled()) {
    result_ = -ECANCELED;
    return nullptr;
  }
  waiter_.handle = awaiting;
  if (token_.source() != nullptr) hook(*token_.source());
  return &submit();
}

void SingleOperation::launch(io_uring_sqe& entry) {
  io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
}

void SingleOperation::complete(int result, uint32_t flags) {
  result_ = result;
  flags_ = flags;
  unhook();
  reactor().resume_later(waiter_);
}

Result<size_t> SingleOperation::count(const char* call) const {
  // EINTR comes from a cancel that hit a request already running in a worker (io_uring_prep_cancel(3)).
  if (result_ == -EINTR && token_.cancelled()) return fail_errno(ECANCELED, call);
  if (result_ < 0) return fail_errno(-result_, call);
  return static_cast<size_t>(result_);
}

Result<> SingleOperation::success(const char* call) const {
  TRY(count(call));
  return {};
}

bool ReadOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_read(entry, fd_, buffer_.data(), transfer_len(buffer_.size()),
                     static_cast<uint64_t>(offset_));
  launch(*entry);
  return true;
}

bool WriteOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_write(entry, fd_, data_.data(), transfer_len(data_.size()), static_cast<uint64_t>(offset_));
  launch(*entry);
  return true;
}

bool ReceiveOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_recv(entry, fd_, buffer_.data(), transfer_len(buffer_.size()), 0);
  launch(*entry);
  return true;
}

bool ReceivePooledOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_recv(entry, fd_, nullptr, BufferPool::kBufferBytes, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = BufferPool::kGroup;
  launch(*entry);
  return true;
}

Result<Chunk> ReceivePooledOp::await_resume() {
  // A completion can carry a buffer even where it reports no bytes; it must go back all the same.
  Chunk chunk;
  if ((flags() & IORING_CQE_F_BUFFER) != 0) {
    const auto buffer_id = static_cast<uint16_t>(flags() >> IORING_CQE_BUFFER_SHIFT);
    chunk = Chunk(reactor().buffers(), buffer_id, result() > 0 ? static_cast<size_t>(result()) : 0);
  }
  if (result() == -ENOBUFS) {
    return std::unexpected(errno_error(ENOBUFS, "recv").with_code(Code::resource_exhausted));
  }
  TRY(count("recv"));
  return chunk;
}

bool SendOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_send(entry, fd_, data_.data(), transfer_len(data_.size()), MSG_NOSIGNAL);
  launch(*entry);
  return true;
}

bool SendMessageOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_sendmsg(entry, fd_, message_, MSG_NOSIGNAL);
  launch(*entry);
  return true;
}

bool ReceiveMessageOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_recvmsg(entry, fd_, message_, MSG_CMSG_CLOEXEC);
  launch(*entry);
  return true;
}

bool AcceptOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_accept(entry, fd_, nullptr, nullptr, SOCK_CLOEXEC);
  launch(*entry);
  return true;
}

Result<Fd> AcceptOp::await_resume() {
  return Fd(static_cast<int>(TRY(count("accept"))));
}

bool ConnectOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_connect(entry, fd_, reinterpret_cast<const sockaddr*>(&address_), len_bytes_);
  launch(*entry);
  return true;
}

bool PollOp::await_suspend(std::coroutine_handle<> awaiting) {
  io_uring_sqe* entry = begin(awaiting);
  if (entry == nullptr) return false;
  io_uring_prep_poll_add(entry, fd_, events_);
  launch(*entry);
  return true;
}

}  // namespace lambdo::reactor
