#include "virtio_net/receive_path.h"

#include <cerrno>

#include "virtio_net/frame.h"

namespace lambdo::virtio_net {

using virtio::WorkBudget;

/// As how many packets a frame counts.
static uint64_t packets_of(const Header& header, uint64_t frame_bytes) {
  if (header.gso_type == Header::kGsoNone || header.gso_size == 0) return 1;
  return (frame_bytes + header.gso_size - 1) / header.gso_size;
}

ReceivePath::ReceivePath(reactor::Reactor& reactor, PathHost& host, const Tap& tap, const NetOptions& options,
                         DirectionCounters& counters)
    : reactor_(reactor),
      host_(host),
      tap_(tap),
      options_(options),
      counters_(counters),
      limiter_(options.receive_limits, reactor.now_ns()),
      alarm_(reactor, *this),
      read_(reactor, *this) {}

void ReceivePath::activate(virtio::Queue& queue, uint64_t features) {
  queue_ = &queue;
  features_ = features;
  mode_ = ReadMode::wait_in_kernel;
  // The read may still be one of the driver before.
  phase_ = read_.is_armed() ? Phase::reading : Phase::due;
}

void ReceivePath::deactivate() {
  queue_ = nullptr;
  phase_ = Phase::inactive;
  window_.clear();
  target_.disown();
  read_.forget();
  read_.cancel();
  alarm_.clear();
}

void ReceivePath::alarm_rang() {
  if (phase_ == Phase::paused) phase_ = Phase::due;
  if (phase_ == Phase::starved) phase_ = Phase::due_short;
  host_.wake();
}

void ReceivePath::read_ended() {
  if (phase_ == Phase::reading || phase_ == Phase::reading_short) {
    phase_ = read_.has_result() ? Phase::read_ended : Phase::due;
  }
  host_.wake();
}

void ReceivePath::queue_notified() {
  if (phase_ == Phase::starved) {
    alarm_.clear();
    phase_ = Phase::due;
  } else if (phase_ == Phase::reading_short) {
    // With the buffers that came, the next read may wait for a longer frame.
    phase_ = Phase::reading;
    read_.cancel();
  }
  host_.wake();
}

bool ReceivePath::may_read() const {
  return (phase_ == Phase::due || phase_ == Phase::due_short) && host_.may_receive();
}

bool ReceivePath::is_due() const {
  return phase_ == Phase::read_ended || may_read();
}

/// What the longest frame needs that the TAP may give.
uint64_t ReceivePath::longest_bytes() const {
  const bool is_segmented = (features_ & (feature::kGuestTso4 | feature::kGuestTso6)) != 0;
  return kHeaderBytes + (is_segmented ? kMaxFrameBytes : max_plain_bytes(options_.mtu));
}

void ReceivePath::pause_until(int64_t at_ns) {
  phase_ = Phase::paused;
  alarm_.set(at_ns);
}

Result<> ReceivePath::run() {
  if (!is_due()) return {};
  auto done = read_frames();
  if (!read_.is_armed()) window_.give_back(*queue_);
  // The guest has another while to offer more for the next frame.
  if (phase_ == Phase::due_short) phase_ = Phase::due;
  return done;
}

Result<> ReceivePath::read_frames() {
  WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  queue_->disable_notifications();
  if (phase_ == Phase::read_ended) TRY(finish_read(budget));
  while (may_read() && budget.begin_round(reactor_.now_ns())) {
    if (!limiter_.is_ready(budget.now_ns())) {
      ++counters_.pauses;
      pause_until(limiter_.ready_at_ns());
      break;
    }
    const Room room = TRY(find_room());
    if (room == Room::none) continue;
    target_.aim(window_, !has(feature::kMrgRxbuf));
    if (mode_ == ReadMode::poll) {
      TRY(read_now(budget));
    } else {
      phase_ = room == Room::enough ? Phase::reading : Phase::reading_short;
      read_armed_ns_ = budget.now_ns();
      read_.arm(tap_.fd(), target_);
    }
  }
  return {};
}

Result<ReceivePath::Room> ReceivePath::find_room() {
  // Without merging (5.1.6.3.1) a frame goes into one buffer, of any length the driver likes.
  const uint64_t wanted_bytes = has(feature::kMrgRxbuf) ? longest_bytes() : 1;
  const bool has_more = TRY(window_.fill(*queue_, wanted_bytes));
  if (has_more && !window_.empty()) return Room::enough;
  if (has_more || queue_->enable_notifications()) return Room::none;
  // Only now is a notification of use: new buffers are not news while there are enough.
  if (phase_ == Phase::due_short && !window_.empty()) return Room::some;
  phase_ = Phase::starved;
  // What is there may be all that the driver ever offers at a time.
  if (!window_.empty()) alarm_.set(reactor_.now_ns() + kShortageNs);
  return Room::none;
}

/// The read ended that waited in the kernel.
Result<> ReceivePath::finish_read(WorkBudget& budget) {
  phase_ = Phase::due;
  const int result = read_.take_result();
  if (result == -ECANCELED || result == -EINTR) return {};
  // The kernel gave up waiting, which it does where others read as well. Asking again at once could spin.
  if (result == -EAGAIN) {
    pause_until(budget.now_ns() + kShortageNs);
    return {};
  }
  // Where frames come this fast there may be more of them, and asking costs less than waiting.
  const bool is_flooded = result > 0 && budget.now_ns() - read_armed_ns_ < kFloodNs;
  mode_ = is_flooded ? ReadMode::poll : ReadMode::wait_in_kernel;
  return take_frame(budget, result > 0 ? static_cast<size_t>(result) : 0);
}

Result<> ReceivePath::read_now(WorkBudget& budget) {
  const auto read = tap_.read(target_.parts());
  if (read && !*read) {
    mode_ = ReadMode::wait_in_kernel;
    return {};
  }
  return take_frame(budget, read ? **read : 0);
}

/// `read_bytes` of a frame and its header lie where target_ says.
Result<> ReceivePath::take_frame(WorkBudget& budget, size_t read_bytes) {
  // Not even a header: the TAP has ended.
  if (read_bytes == 0) {
    host_.tap_lost();
    return {};
  }
  if (read_bytes < kHeaderBytes + kEthernetBytes) {
    counters_.count(Drop::malformed);
    return {};
  }
  if (!host_.is_link_up()) {
    counters_.count(Drop::link_down);
    return {};
  }
  const uint64_t frame_bytes = read_bytes - kHeaderBytes;
  limiter_.take(frame_bytes, packets_of(target_.header(), frame_bytes));
  budget.spend(frame_bytes);
  return deliver(frame_bytes);
}

/// A frame was read into the window's buffers.
Result<> ReceivePath::deliver(uint64_t frame_bytes) {
  const uint64_t room_bytes = target_.room_bytes();
  if (frame_bytes > room_bytes) {
    const bool is_short = has(feature::kMrgRxbuf) && room_bytes + kHeaderBytes < longest_bytes();
    counters_.count(is_short ? Drop::no_buffers : Drop::too_long);
    return {};
  }
  const auto checked = check_receive(target_.header(), frame_bytes, features_, options_.mtu);
  if (!checked) {
    counters_.count(checked.error());
    return {};
  }
  counters_.count(frame_bytes);
  return window_.use(*queue_, *checked, frame_bytes);
}

}  // namespace lambdo::virtio_net
