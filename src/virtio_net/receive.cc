// From the host to the guest.

#include <algorithm>
#include <array>

#include "virtio_net/device.h"

namespace lambdo::virtio_net {

using virtio::Work;

/// As how many packets a frame counts.
static uint64_t packets_of(const Header& header, uint64_t frame_bytes) {
  if (header.gso_type == Header::kGsoNone || header.gso_size == 0) return 1;
  return (frame_bytes + header.gso_size - 1) / header.gso_size;
}

bool Net::can_receive() const {
  return context_.has_value() && is_readable_ && is_link_up() && !is_starved_ && !is_setting_offloads_ &&
         !receive_pause_.is_set();
}

/// What the longest frame needs that the TAP may give.
uint64_t Net::longest_bytes() const {
  const bool is_segmented = (context_->features & (feature::kGuestTso4 | feature::kGuestTso6)) != 0;
  return kHeaderBytes + (is_segmented ? kMaxFrameBytes : max_plain_bytes(options_.mtu));
}

Result<Work> Net::give_frames() {
  if (!can_receive()) return Work::drained;
  virtio::Queue& frames = queue(kRxQueue);
  auto work = fill_buffers(frames);
  window_.give_back(frames);
  was_patient_ = false;
  return work;
}

Result<Work> Net::fill_buffers(virtio::Queue& frames) {
  Budget budget(reactor_);
  frames.disable_notifications();
  while (can_receive()) {
    if (!budget.begin_frame()) return Work::more;
    if (!receive_limiter_.is_ready(budget.now_ns())) {
      ++counters_.receive.pauses;
      receive_pause_.set(receive_limiter_.ready_at_ns());
      break;
    }
    if (TRY(find_room(frames)) == Room::enough) TRY(receive(frames, budget));
  }
  return Work::drained;
}

Result<Net::Room> Net::find_room(virtio::Queue& frames) {
  // Without merging (5.1.6.3.1) a frame goes into one buffer, of any length the driver likes.
  const uint64_t wanted_bytes = has(feature::kMrgRxbuf) ? longest_bytes() : 1;
  const bool has_more = TRY(window_.fill(frames, wanted_bytes));
  if (has_more && !window_.empty()) return Room::enough;
  if (was_patient_ && !window_.empty()) return Room::enough;
  if (has_more || frames.enable_notifications()) return Room::look_again;
  // Only now is a notification of use: new buffers are not news while there are enough.
  is_starved_ = true;
  // What is there may be all that the driver ever offers at a time.
  if (!window_.empty()) shortage_.set(reactor_.now_ns() + kShortageNs);
  return Room::wait;
}

Result<> Net::receive(virtio::Queue& frames, Budget& budget) {
  Header header{};
  std::byte beyond{};  // filled only where the frame is longer than the room
  std::array<iovec, ReceiveWindow::kMaxParts + 2> parts;
  const bool is_merging = has(feature::kMrgRxbuf);
  parts[0] = {&header, kHeaderBytes};
  size_t count = 1 + window_.frame_parts(!is_merging, std::span(parts).subspan(1));
  uint64_t room_bytes = 0;
  for (const iovec& part : std::span(parts).first(count)) room_bytes += part.iov_len;
  parts[count++] = {&beyond, 1};
  const auto read = tap_.read(std::span(parts).first(count));
  if (read && !*read) {
    is_readable_ = false;
    input_.arm(tap_.fd());
    return {};
  }
  // Not even a header: the end.
  if (!read || **read == 0) {
    lose_tap();
    return {};
  }
  if (**read < kHeaderBytes + kEthernetBytes) {
    counters_.receive.count(Drop::malformed);
    return {};
  }
  const uint64_t frame_bytes = **read - kHeaderBytes;
  receive_limiter_.take(frame_bytes, packets_of(header, frame_bytes));
  budget.spend(frame_bytes);
  return deliver(frames, header, frame_bytes, room_bytes - kHeaderBytes);
}

/// A frame was read into the window's buffers.
Result<> Net::deliver(virtio::Queue& frames, const Header& header, uint64_t frame_bytes,
                      uint64_t room_bytes) {
  DirectionCounters& counters = counters_.receive;
  if (frame_bytes > room_bytes) {
    const bool is_short = has(feature::kMrgRxbuf) && room_bytes + kHeaderBytes < longest_bytes();
    counters.count(is_short ? Drop::no_buffers : Drop::too_long);
    return {};
  }
  const auto checked = check_receive(header, frame_bytes, context_->features, options_.mtu);
  if (!checked) {
    counters.count(checked.error());
    return {};
  }
  counters.count(frame_bytes);
  return window_.use(frames, *checked, frame_bytes);
}

}  // namespace lambdo::virtio_net
