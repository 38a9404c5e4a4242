#include "http/server/receiver.h"

#include <poll.h>

#include <cerrno>

namespace lambdo::http {

using reactor::BufferPool;
using reactor::Chunk;

static constexpr size_t kSingleBytes = 16384;
/// A buffer that grew beyond this is given back once it is empty.
static constexpr size_t kMaxKeptBytes = 64 << 10;

Receiver::Receiver(reactor::Reactor& reactor, int fd, size_t capacity_bytes, uint64_t& bytes_in)
    : Operation(reactor),
      fd_(fd),
      capacity_bytes_(capacity_bytes),
      bytes_in_(&bytes_in),
      changed_(reactor),
      notice_(reactor) {}

void Receiver::arm() {
  if (stopping_ || ended_ || in_flight()) return;
  cancelling_ = false;
  if (!has_room()) {
    if (gone_) return;
    mode_ = Mode::watch;
    io_uring_sqe& entry = submit();
    io_uring_prep_poll_add(&entry, fd_, POLLRDHUP);
    io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
    return;
  }
  mode_ = reactor().buffers().active() && !pool_empty_ ? Mode::multishot : Mode::single;
  pool_empty_ = false;
  io_uring_sqe& entry = submit();
  if (mode_ == Mode::multishot) {
    io_uring_prep_recv_multishot(&entry, fd_, nullptr, 0, 0);
    entry.flags |= IOSQE_BUFFER_SELECT;
    entry.buf_group = BufferPool::kGroup;
  } else {
    single_buffer_.resize(kSingleBytes);
    io_uring_prep_recv(&entry, fd_, single_buffer_.data(), single_buffer_.size(), 0);
  }
  io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
}

/// Ends what is in flight, so that its completion arms what is right now.
void Receiver::rearm_now() {
  if (!in_flight() || cancelling_) return;
  cancelling_ = true;
  request_cancel();
}

void Receiver::complete(int result, uint32_t flags) {
  if (mode_ == Mode::watch) {
    if (result > 0) gone_ = true;
  } else {
    take_result(result, flags);
  }
  if ((gone_ || ended_) && notice_.source != nullptr) notice_.give();
  changed_.notify_all();
  if (!in_flight()) {
    arm();
  } else if (!has_room()) {
    rearm_now();
  }
}

void Receiver::take_result(int result, uint32_t flags) {
  const size_t count = result > 0 ? static_cast<size_t>(result) : 0;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    const Chunk chunk(reactor().buffers(), static_cast<uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT), count);
    take(chunk.bytes());
  } else if (count > 0) {
    take(std::span(single_buffer_).first(count));
  }
  if (result > 0 || result == -ECANCELED || result == -EINTR) return;
  if (result == -ENOBUFS) {
    pool_empty_ = true;
  } else {
    ended_ = true;
  }
}

void Receiver::take(std::span<const std::byte> bytes) {
  *bytes_in_ += bytes.size();
  if (discarding_) {
    discarded_bytes_ += bytes.size();
  } else {
    if (consumed_ > buffer_.size() / 2) {
      buffer_.erase(0, consumed_);
      consumed_ = 0;
    }
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

void Receiver::consume(size_t len_bytes) {
  consumed_ += len_bytes;
  if (consumed_ == buffer_.size()) {
    buffer_.clear();
    if (buffer_.capacity() > kMaxKeptBytes) buffer_.shrink_to_fit();
    consumed_ = 0;
  }
  if (!has_room()) return;
  if (mode_ == Mode::watch) rearm_now();
  arm();
}

void Receiver::cancel_when_gone(reactor::CancelSource* source) {
  notice_.source = source;
  if (source != nullptr && (gone_ || ended_)) source->cancel();
}

void Receiver::GoneNotice::fire() {
  if (source != nullptr) source->cancel();
}

void Receiver::discard() {
  discarding_ = true;
  consume(buffer_.size() - consumed_);
}

reactor::Task<> Receiver::stop() {
  stopping_ = true;
  request_cancel();
  while (in_flight()) co_await changed_.wait();
}

}  // namespace lambdo::http
