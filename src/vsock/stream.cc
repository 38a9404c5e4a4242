#include "vsock/stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/syscalls.h"

namespace lambdo::vsock {

void StreamLink::unlink() {
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = this;
  next_ = this;
}

void StreamList::add(StreamLink& link) {
  if (link.next_ != &link) return;
  link.previous_ = ends_.previous_;
  link.next_ = &ends_;
  ends_.previous_->next_ = &link;
  ends_.previous_ = &link;
}

Stream* StreamList::take() {
  if (empty()) return nullptr;
  StreamLink* first = ends_.next_;
  first->unlink();
  return first->stream_;
}

void Watch::arm(int socket, unsigned events) {
  io_uring_sqe& entry = submit();
  io_uring_prep_poll_add(&entry, socket, events);
  io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
}

unsigned Watch::take_events() {
  return std::exchange(events_, 0);
}

void Watch::complete(int result, uint32_t /*flags*/) {
  // A watch that failed was cancelled, or says what the next call on the socket says better.
  events_ = result > 0 ? static_cast<unsigned>(result) : 0;
  stream_->owner_.stream_ready(*stream_);
}

namespace {

/// The buffers of a chain as the kernel takes them, on the stack.
class Parts {
 public:
  /// `len_bytes` of `buffers` behind the header's room, or as many as there are.
  Parts(std::span<const virtio::Buffer> buffers, uint64_t len_bytes) {
    uint64_t skip_bytes = kHeaderBytes;
    for (const virtio::Buffer& buffer : buffers) {
      if (len_bytes == 0) break;
      const uint64_t skipped = std::min<uint64_t>(skip_bytes, buffer.len_bytes);
      skip_bytes -= skipped;
      const uint64_t part_bytes = std::min(buffer.len_bytes - skipped, len_bytes);
      if (part_bytes == 0) continue;
      parts_[count_++] = {buffer.data + skipped, part_bytes};
      len_bytes -= part_bytes;
    }
  }

  [[nodiscard]] std::span<const iovec> get() const { return {parts_.data(), count_}; }

 private:
  size_t count_ = 0;
  // Only the first count_ are initialised: parts are made for every packet.
  std::array<iovec, virtio::kMaxQueueSize> parts_;  // NOLINT(cppcoreguidelines-pro-type-member-init)
};

}  // namespace

Stream::Stream(reactor::Reactor& reactor, StreamOwner& owner, const Connection& start, Fd socket,
               uint32_t buffer_bytes)
    : connection(start),
      owner_(owner),
      socket_(std::move(socket)),
      backlog_(buffer_bytes),
      input_(reactor, *this),
      output_(reactor, *this) {}

void Stream::answer_dial(bool established) {
  Dial* answered = std::exchange(dial, nullptr);
  if (answered == nullptr) return;
  answered->established = established;
  answered->answered.set();
}

void Stream::take(const virtio::DescriptorChain& chain, uint32_t len_bytes) {
  size_t sent_bytes = 0;
  if (!connection.host_receives()) {
    // Nobody reads it; the guest was told, and may have sent this before it knew.
    return connection.forwarded(len_bytes);
  }
  if (backlog_.empty()) {
    const auto sent = sys::send_now(socket_.get(), Parts(chain.readable(), len_bytes).get());
    if (!sent) {
      connection.forwarded(len_bytes);
      return host_stopped_reading();
    }
    sent_bytes = sent->value_or(0);
    connection.forwarded(static_cast<uint32_t>(sent_bytes));
  }
  // What was received and not forwarded is within the credit given, which is the backlog's size.
  backlog_.append(chain, kHeaderBytes + sent_bytes, len_bytes - sent_bytes);
}

void Stream::flush() {
  while (!backlog_.empty()) {
    const auto sent = sys::send_now(socket_.get(), backlog_.parts());
    if (!sent) return host_stopped_reading();
    if (!*sent) return;
    backlog_.drop_front(**sent);
    connection.forwarded(static_cast<uint32_t>(**sent));
  }
  follow_guest_shutdown();
}

void Stream::host_stopped_reading() {
  connection.forwarded(static_cast<uint32_t>(backlog_.size()));
  backlog_.clear();
  connection.shut_down(kShutdownReceive);
}

void Stream::follow_guest_shutdown() {
  if (!connection.guest_receives()) {
    ::shutdown(socket_.get(), SHUT_RD);
    is_readable_ = false;
  }
  if (!connection.guest_sends() && backlog_.empty()) ::shutdown(socket_.get(), SHUT_WR);
}

Stream::Received Stream::receive(const virtio::DescriptorChain& chain, uint32_t max_bytes,
                                 uint32_t& len_bytes) {
  const auto received = sys::receive_now(socket_.get(), Parts(chain.writable(), max_bytes).get());
  if (received && *received && **received > 0) {
    len_bytes = static_cast<uint32_t>(**received);
    // Less than asked for was all there was: the watch costs nothing that another try would not.
    is_readable_ = len_bytes == max_bytes;
    return Received::bytes;
  }
  is_readable_ = false;
  if (!received) return Received::broken;
  if (!*received) return Received::nothing;
  connection.shut_down(has_hung_up_ ? kShutdownBoth : kShutdownSend);
  return Received::end;
}

void Stream::note_ready() {
  const unsigned input = input_.take_events();
  const unsigned output = output_.take_events();
  if (((input | output) & (POLLHUP | POLLERR)) != 0) has_hung_up_ = true;
  if (output != 0) flush();
  if (input == 0 || has_left_) return;
  if (connection.host_sends() && connection.guest_receives()) {
    is_readable_ = true;
  } else if (has_hung_up_) {
    connection.shut_down(kShutdownBoth);
  }
}

void Stream::watch() {
  if (!backlog_.empty() && !output_.is_armed()) output_.arm(socket_.get(), POLLOUT);
  if (has_left_ || is_readable_ || input_.is_armed() || connection.is_dialling()) return;
  const bool wants_input = connection.host_sends() && connection.guest_receives();
  // Without POLLIN it waits for the host to close its end altogether.
  if (wants_input || connection.host_receives() || connection.host_sends()) {
    input_.arm(socket_.get(), wants_input ? POLLIN : 0);
  }
}

void Stream::leave() {
  has_left_ = true;
  is_readable_ = false;
  input_.cancel();
  ::shutdown(socket_.get(), SHUT_RD);
}

void Stream::close() {
  has_left_ = true;
  is_readable_ = false;
  backlog_.clear();
  // The kernel keeps the file until the watches have ended: the host must not wait for that.
  ::shutdown(socket_.get(), SHUT_RDWR);
  input_.cancel();
  output_.cancel();
}

}  // namespace lambdo::vsock
