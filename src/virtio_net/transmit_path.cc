#include "virtio_net/transmit_path.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "virtio_net/frame.h"

namespace lambdo::virtio_net {

using virtio::DescriptorChain;
using virtio::Work;
using virtio::WorkBudget;

static constexpr size_t kSourceOffset = MacAddress::kBytes;

TransmitPath::TransmitPath(reactor::Reactor& reactor, PathHost& host, const Tap& tap,
                           const NetOptions& options, DirectionCounters& counters)
    : reactor_(reactor),
      host_(host),
      tap_(tap),
      options_(options),
      counters_(counters),
      limiter_(options.transmit_limits, reactor.now_ns()),
      alarm_(reactor, *this),
      batch_(reactor, *this) {}

void TransmitPath::activate(virtio::Queue& queue, uint64_t features) {
  queue_ = &queue;
  features_ = features;
  // The batch may still be one of the driver before.
  phase_ = batch_.is_busy() ? Phase::writing : Phase::idle;
}

void TransmitPath::deactivate() {
  queue_ = nullptr;
  phase_ = Phase::inactive;
  batch_.forget();
  alarm_.clear();
}

void TransmitPath::alarm_rang() {
  // Where a batch is being written, its end makes the path due.
  if (phase_ == Phase::paused) phase_ = Phase::due;
  host_.wake();
}

void TransmitPath::writes_ended() {
  if (phase_ == Phase::writing) phase_ = Phase::due;
  host_.wake();
}

Result<Work> TransmitPath::queue_notified() {
  if (phase_ == Phase::inactive || phase_ == Phase::writing || alarm_.is_set()) return Work::drained;
  return take_frames();
}

Result<> TransmitPath::run() {
  if (phase_ == Phase::due && TRY(take_frames()) == Work::more) phase_ = Phase::due;
  return {};
}

Result<Work> TransmitPath::take_frames() {
  // A batch may also end while it is filled, so the phase is told by what is left in the end.
  auto work = fill_batch();
  if (batch_.is_busy()) {
    phase_ = Phase::writing;
  } else if (!batch_.empty()) {
    phase_ = Phase::due;
  } else {
    phase_ = alarm_.is_set() ? Phase::paused : Phase::idle;
  }
  return work;
}

Result<Work> TransmitPath::fill_batch() {
  TRY(finish_batch());
  if (alarm_.is_set()) return Work::drained;
  WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  queue_->disable_notifications();
  while (batch_.has_room() && budget.begin_round(reactor_.now_ns())) {
    const auto chain = TRY(queue_->pop());
    if (!chain) {
      // While frames are on their way no notification is of use: the path looks again at their end.
      if (!batch_.empty() || !queue_->enable_notifications()) return Work::drained;
      continue;
    }
    // Frames that are held back stay in the queue, and the driver is not asked for more.
    if (!limiter_.is_ready(budget.now_ns())) {
      queue_->unpop();
      ++counters_.pauses;
      alarm_.set(limiter_.ready_at_ns());
      return Work::drained;
    }
    if (const auto drop = send(*chain, budget)) {
      counters_.count(*drop);
      TRY(queue_->push_used(chain->head(), 0));
    }
  }
  return batch_.empty() ? Work::more : Work::drained;
}

/// Sends one frame on its way, or says why not. Nothing the guest says in it is an error of the device.
std::optional<Drop> TransmitPath::send(const DescriptorChain& chain, WorkBudget& budget) {
  if (!host_.is_link_up()) return Drop::link_down;
  if (chain.readable_bytes() < kHeaderBytes + kEthernetBytes) return Drop::malformed;
  // The guest can change its memory at any time: header and first bytes are copied once, checked, and the
  // copies are written.
  Header header;
  chain.copy_readable(0, std::as_writable_bytes(std::span(&header, 1)));
  std::array<std::byte, FrameStart::kMaxBytes> copy;
  const auto wanted = std::span(copy).first(FrameStart::needed_bytes(header));
  const auto start = wanted.first(chain.copy_readable(kHeaderBytes, wanted));
  const auto source = std::as_bytes(std::span(options_.mac.bytes));
  if (!std::ranges::equal(start.subspan(kSourceOffset, source.size()), source)) return Drop::foreign_source;
  const uint64_t frame_bytes = chain.readable_bytes() - kHeaderBytes;
  const auto frame = check_transmit(header, {start, frame_bytes}, features_, options_.mtu);
  if (!frame) return frame.error();
  batch_.add(tap_.fd(), chain, *frame, start);
  limiter_.take(frame_bytes, frame->segments);
  budget.spend(frame_bytes);
  return std::nullopt;
}

/// The kernel is done with the frames of a batch: they are counted, and their chains given back.
Result<> TransmitPath::finish_batch() {
  std::array<virtio::UsedChain, WriteBatch::kMaxFrames> used;
  size_t count = 0;
  for (const WriteBatch::Frame& frame : batch_.frames()) {
    used[count++] = {frame.head, 0};
    count_written(frame);
  }
  const bool has_owner = !batch_.is_forgotten();
  batch_.clear();
  if (!has_owner) return {};
  return queue_->push_used(std::span(used).first(count));
}

void TransmitPath::count_written(const WriteBatch::Frame& frame) {
  if (frame.result >= 0) return counters_.count(frame.frame_bytes);
  // The kernel's TAP driver answers EBADFD once the interface was deleted; other errors concern this frame
  // only.
  const bool is_gone = frame.result == -EBADFD;
  counters_.count(is_gone || frame.result == -ECANCELED ? Drop::link_down : Drop::refused_by_kernel);
  if (is_gone) host_.tap_lost();
}

Result<> TransmitPath::finish() {
  if (phase_ == Phase::inactive) return {};
  return finish_batch();
}

}  // namespace lambdo::virtio_net
