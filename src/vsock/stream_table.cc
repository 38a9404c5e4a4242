#include "vsock/stream_table.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lambdo::vsock {

size_t StreamTable::PortsHash::operator()(const Ports& ports) const {
  // The guest chooses its ports, and may choose them all alike: an odd factor spreads what differs, and the
  // table holds no more than the device's limit of connections.
  return (uint64_t{ports.host} << 32 | ports.guest) * 0x9e3779b97f4a7c15 >> 16;
}

Stream* StreamTable::find(const Ports& ports) const {
  const auto place = streams_.find(ports);
  return place != streams_.end() ? place->second.get() : nullptr;
}

Stream& StreamTable::add(const Connection& connection, Fd socket) {
  StreamOwner& owner = *this;
  auto stream = std::make_unique<Stream>(reactor_, owner, connection, std::move(socket), buffer_bytes_);
  Stream& added = *stream;
  streams_.emplace(connection.ports(), std::move(stream));
  return added;
}

void StreamTable::update(Stream& stream) {
  if (stream.is_readable() && stream.connection.sendable() == 0) stream.connection.stalled();
  stream.watch();
  if (stream.connection.has_control() || (stream.is_readable() && stream.connection.sendable() > 0)) {
    sending_.add(stream.send_link);
  }
}

void StreamTable::detach(Stream& stream) {
  stream.answer_dial(false);
  stream.send_link.unlink();
  const auto place = streams_.find(stream.connection.ports());
  CHECK(place != streams_.end() && place->second.get() == &stream);
  leaving_.push_back(std::move(place->second));
  streams_.erase(place);
  stream.leave();
  finish(stream);
}

void StreamTable::detach_all() {
  while (!streams_.empty()) detach(*streams_.begin()->second);
}

void StreamTable::close_all() {
  detach_all();
  // From the back: finish() may take the stream out and move the last one to its place.
  for (size_t i = leaving_.size(); i > 0; --i) {
    Stream& stream = *leaving_[i - 1];
    stream.close();
    finish(stream);
  }
}

/// Lets go of a stream that left once nothing is owed to its socket and no operation is under way.
void StreamTable::finish(Stream& stream) {
  if (stream.has_backlog()) return stream.watch();
  stream.close();
  if (!stream.is_idle()) return;
  const auto place = std::ranges::find_if(leaving_, [&](const auto& left) { return left.get() == &stream; });
  CHECK(place != leaving_.end());
  std::swap(*place, leaving_.back());
  leaving_.pop_back();
}

void StreamTable::stream_ready(Stream& stream) {
  ready_.add(stream.ready_link);
  work_due_.notify_one();
}

void StreamTable::handle_ready() {
  while (Stream* stream = ready_.take()) {
    stream->note_ready();
    if (find(stream->connection.ports()) == stream) {
      update(*stream);
    } else {
      finish(*stream);
    }
  }
}

}  // namespace lambdo::vsock
