// From the host to the guest.

#include <cerrno>

#include "virtio_net/device.h"

namespace lambdo::virtio_net {

using virtio::Work;

/// As how many packets a frame counts.
static uint64_t packets_of(const Header& header, uint64_t frame_bytes) {
  if (header.gso_type == Header::kGsoNone || header.gso_size == 0) return 1;
  return (frame_bytes + header.gso_size - 1) / header.gso_size;
}

bool Net::can_receive() const {
  return context_.has_value() && !is_stopping_ && !read_.is_armed() && is_link_up() && !is_starved_ &&
         !is_setting_offloads_ && !receive_pause_.is_set();
}

/// What the longest frame needs that the TAP may give.
uint64_t Net::longest_bytes() const {
  const bool is_segmented = (context_->features & (feature::kGuestTso4 | feature::kGuestTso6)) != 0;
  return kHeaderBytes + (is_segmented ? kMaxFrameBytes : max_plain_bytes(options_.mtu));
}

Result<Work> Net::give_frames() {
  if (!read_.has_result() && !can_receive()) return Work::drained;
  virtio::Queue& frames = queue(kRxQueue);
  auto work = fill_buffers(frames);
  if (!read_.is_armed()) window_.give_back(frames);
  was_patient_ = false;
  return work;
}

Result<Work> Net::fill_buffers(virtio::Queue& frames) {
  virtio::WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  frames.disable_notifications();
  if (read_.has_result()) TRY(finish_read(frames, budget));
  while (can_receive()) {
    if (!budget.begin_round(reactor_.now_ns())) return Work::more;
    if (!receive_limiter_.is_ready(budget.now_ns())) {
      ++counters_.receive.pauses;
      receive_pause_.set(receive_limiter_.ready_at_ns());
      break;
    }
    if (TRY(find_room(frames)) != Room::enough) continue;
    target_.aim(window_, !has(feature::kMrgRxbuf));
    if (is_flooded_) {
      TRY(read_now(frames, budget));
    } else {
      read_armed_ns_ = budget.now_ns();
      read_.arm(tap_.fd(), target_);
    }
  }
  return Work::drained;
}

Result<Net::Room> Net::find_room(virtio::Queue& frames) {
  // Without merging (5.1.6.3.1) a frame goes into one buffer, of any length the driver likes.
  const uint64_t wanted_bytes = has(feature::kMrgRxbuf) ? longest_bytes() : 1;
  const bool has_more = TRY(window_.fill(frames, wanted_bytes));
  is_read_short_ = false;
  if (has_more && !window_.empty()) return Room::enough;
  if (has_more || frames.enable_notifications()) return Room::look_again;
  // Only now is a notification of use: new buffers are not news while there are enough.
  if (was_patient_ && !window_.empty()) {
    is_read_short_ = true;
    return Room::enough;
  }
  is_starved_ = true;
  // What is there may be all that the driver ever offers at a time.
  if (!window_.empty()) shortage_.set(reactor_.now_ns() + kShortageNs);
  return Room::wait;
}

/// The read ended that waited in the kernel.
Result<> Net::finish_read(virtio::Queue& frames, virtio::WorkBudget& budget) {
  const int result = read_.take_result();
  if (result == -ECANCELED || result == -EINTR) return {};
  // The kernel gave up waiting, which it does where others read as well. Asking again at once could spin.
  if (result == -EAGAIN) {
    receive_pause_.set(budget.now_ns() + kShortageNs);
    return {};
  }
  // Where frames come this fast there may be more of them, and asking costs less than waiting.
  is_flooded_ = result > 0 && budget.now_ns() - read_armed_ns_ < kFloodNs;
  return take_frame(frames, budget, result > 0 ? static_cast<size_t>(result) : 0);
}

Result<> Net::read_now(virtio::Queue& frames, virtio::WorkBudget& budget) {
  const auto read = tap_.read(target_.parts());
  if (read && !*read) {
    is_flooded_ = false;
    return {};
  }
  return take_frame(frames, budget, read ? **read : 0);
}

/// `read_bytes` of a frame and its header lie where target_ says.
Result<> Net::take_frame(virtio::Queue& frames, virtio::WorkBudget& budget, size_t read_bytes) {
  DirectionCounters& counters = counters_.receive;
  // Not even a header: the end.
  if (read_bytes == 0) {
    lose_tap();
    return {};
  }
  if (read_bytes < kHeaderBytes + kEthernetBytes) {
    counters.count(Drop::malformed);
    return {};
  }
  if (!is_link_up()) {
    counters.count(Drop::link_down);
    return {};
  }
  const uint64_t frame_bytes = read_bytes - kHeaderBytes;
  receive_limiter_.take(frame_bytes, packets_of(target_.header(), frame_bytes));
  budget.spend(frame_bytes);
  return deliver(frames, frame_bytes);
}

/// A frame was read into the window's buffers.
Result<> Net::deliver(virtio::Queue& frames, uint64_t frame_bytes) {
  DirectionCounters& counters = counters_.receive;
  const uint64_t room_bytes = target_.room_bytes();
  if (frame_bytes > room_bytes) {
    const bool is_short = has(feature::kMrgRxbuf) && room_bytes + kHeaderBytes < longest_bytes();
    counters.count(is_short ? Drop::no_buffers : Drop::too_long);
    return {};
  }
  const auto checked = check_receive(target_.header(), frame_bytes, context_->features, options_.mtu);
  if (!checked) {
    counters.count(checked.error());
    return {};
  }
  counters.count(frame_bytes);
  return window_.use(frames, *checked, frame_bytes);
}

}  // namespace lambdo::virtio_net
