#include "vsock/connection.h"

#include "base/check.h"

namespace lambdo::vsock {

Connection Connection::dialled(const Ports& ports, uint32_t buffer_bytes) {
  Connection connection(ports, buffer_bytes);
  connection.is_dialling_ = true;
  connection.due_ = kRequest;
  return connection;
}

Connection Connection::accepted(const Header& request, uint32_t buffer_bytes) {
  Connection connection({request.dst_port, request.src_port}, buffer_bytes);
  connection.learn_credit(request);
  connection.due_ = kResponse;
  return connection;
}

void Connection::learn_credit(const Header& header) {
  guest_buffer_bytes_ = header.buf_alloc;
  guest_forwarded_ = header.fwd_cnt;
  if (sendable() > 0) asked_for_credit_ = false;
}

Reaction Connection::receive(const Header& header) {
  const auto op = op_of(header);
  if (op == Op::reset) return Reaction::ended;
  if (!op) return Reaction::violation;
  if (!is_dialling_) return receive_open(*op, header);
  // Nothing else may come before the answer.
  if (op != Op::response || (due_ & kRequest) != 0) return Reaction::violation;
  is_dialling_ = false;
  learn_credit(header);
  return Reaction::established;
}

Reaction Connection::receive_open(Op op, const Header& header) {
  // Every packet carries the sender's view of its buffer (virtio 1.2, 5.10.6.3).
  learn_credit(header);
  switch (op) {
    case Op::data:
      return receive_data(header.len_bytes);
    case Op::shutdown:
      // Once shut down stays so; a packet that names nothing new says nothing.
      if ((header.flags & kShutdownBoth & ~uint32_t{guest_shutdown_}) == 0) return Reaction::none;
      guest_shutdown_ |= header.flags & kShutdownBoth;
      return Reaction::shut_down;
    case Op::credit_update:
      return Reaction::none;
    case Op::credit_request:
      due_ |= kCreditUpdate;
      return Reaction::none;
    default:
      // A request or response: the guest lost track of this connection.
      return Reaction::violation;
  }
}

Reaction Connection::receive_data(uint32_t len_bytes) {
  if (!guest_sends()) return Reaction::violation;
  if (len_bytes > buffer_bytes_ - (received_ - forwarded_)) return Reaction::violation;
  received_ += len_bytes;
  return len_bytes > 0 ? Reaction::data : Reaction::none;
}

void Connection::forwarded(uint32_t len_bytes) {
  CHECK(len_bytes <= received_ - forwarded_);
  forwarded_ += len_bytes;
  // Less than half is told in one packet for many; the other half keeps the guest going meanwhile.
  const uint32_t known_room_bytes = buffer_bytes_ - (received_ - announced_);
  if (guest_sends() && known_room_bytes < buffer_bytes_ / 2 && announced_ != forwarded_)
    due_ |= kCreditUpdate;
}

void Connection::shut_down(uint32_t flags) {
  if ((flags & ~uint32_t{host_shutdown_}) == 0) return;
  host_shutdown_ |= flags & kShutdownBoth;
  due_ |= kShutdown;
}

uint32_t Connection::sendable() const {
  if (is_dialling_ || !host_sends() || !guest_receives()) return 0;
  // What a lying guest says it forwarded can be more than was sent: then the difference is huge, and there is
  // no credit.
  const uint32_t on_the_way = sent_ - guest_forwarded_;
  return on_the_way < guest_buffer_bytes_ ? guest_buffer_bytes_ - on_the_way : 0;
}

void Connection::stalled() {
  if (asked_for_credit_ || is_dialling_ || !host_sends() || !guest_receives()) return;
  asked_for_credit_ = true;
  due_ |= kCreditRequest;
}

Header Connection::make(uint64_t guest_cid, Op op) {
  announced_ = forwarded_;
  due_ &= static_cast<uint8_t>(~kCreditUpdate);
  return {.src_cid = kHostCid,
          .dst_cid = guest_cid,
          .src_port = ports_.host,
          .dst_port = ports_.guest,
          .len_bytes = 0,
          .type = kTypeStream,
          .op = static_cast<uint16_t>(op),
          .flags = 0,
          .buf_alloc = buffer_bytes_,
          .fwd_cnt = forwarded_};
}

std::optional<Header> Connection::take_control(uint64_t guest_cid) {
  struct Packet {
    Due due;
    Op op;
  };
  // The opening packet goes first: the guest knows nothing of the connection before.
  static constexpr Packet kInOrder[] = {{kRequest, Op::request},
                                        {kResponse, Op::response},
                                        {kCreditRequest, Op::credit_request},
                                        {kShutdown, Op::shutdown},
                                        {kCreditUpdate, Op::credit_update}};
  for (const Packet& packet : kInOrder) {
    if ((due_ & packet.due) == 0) continue;
    due_ &= static_cast<uint8_t>(~packet.due);
    Header header = make(guest_cid, packet.op);
    if (packet.op == Op::shutdown) header.flags = host_shutdown_;
    return header;
  }
  return std::nullopt;
}

Header Connection::take_data(uint64_t guest_cid, uint32_t len_bytes) {
  CHECK(len_bytes <= sendable());
  sent_ += len_bytes;
  Header header = make(guest_cid, Op::data);
  header.len_bytes = len_bytes;
  return header;
}

}  // namespace lambdo::vsock
