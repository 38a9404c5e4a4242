// From the guest to the host.

#include <algorithm>
#include <array>
#include <cerrno>

#include "virtio_net/device.h"

namespace lambdo::virtio_net {

using virtio::DescriptorChain;
using virtio::Work;

static constexpr size_t kSourceOffset = MacAddress::kBytes;

Result<Work> Net::take_frames() {
  // The end of the batch goes on here.
  if (batch_.is_busy()) return Work::drained;
  virtio::Queue& frames = queue(kTxQueue);
  TRY(finish_batch());
  if (transmit_pause_.is_set()) return Work::drained;
  virtio::WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  frames.disable_notifications();
  while (batch_.has_room() && budget.begin_round(reactor_.now_ns())) {
    const auto chain = TRY(frames.pop());
    if (!chain) {
      // While frames are on their way no notification is of use: there will be another look.
      if (!batch_.empty() || !frames.enable_notifications()) return Work::drained;
      continue;
    }
    // Held back frames stay in the queue, and the driver is not asked for more.
    if (!transmit_limiter_.is_ready(budget.now_ns())) {
      frames.unpop();
      ++counters_.transmit.pauses;
      transmit_pause_.set(transmit_limiter_.ready_at_ns());
      return Work::drained;
    }
    if (const auto drop = transmit(*chain, budget)) {
      counters_.transmit.count(*drop);
      TRY(frames.push_used(chain->head(), 0));
    }
  }
  return batch_.empty() ? Work::more : Work::drained;
}

/// Sends one frame on its way, or says why not. Nothing the guest says in it is an error of the device.
std::optional<Drop> Net::transmit(const DescriptorChain& chain, virtio::WorkBudget& budget) {
  if (!is_link_up()) return Drop::link_down;
  if (chain.readable_bytes() < kHeaderBytes + kEthernetBytes) return Drop::malformed;
  // Header and start are looked at in copies, and the copies are what is passed on.
  Header header;
  chain.copy_readable(0, std::as_writable_bytes(std::span(&header, 1)));
  std::array<std::byte, FrameStart::kMaxBytes> copy;
  const auto wanted = std::span(copy).first(FrameStart::needed_bytes(header));
  const auto start = wanted.first(chain.copy_readable(kHeaderBytes, wanted));
  const auto source = std::as_bytes(std::span(options_.mac.bytes));
  if (!std::ranges::equal(start.subspan(kSourceOffset, source.size()), source)) return Drop::foreign_source;
  const uint64_t frame_bytes = chain.readable_bytes() - kHeaderBytes;
  const auto frame = check_transmit(header, {start, frame_bytes}, context_->features, options_.mtu);
  if (!frame) return frame.error();
  batch_.add(tap_.fd(), chain, *frame, start);
  transmit_limiter_.take(frame_bytes, frame->segments);
  budget.spend(frame_bytes);
  return std::nullopt;
}

/// The kernel is done with the frames of a batch: they are counted, and their chains given back.
Result<> Net::finish_batch() {
  std::array<virtio::UsedChain, WriteBatch::kMaxFrames> used;
  size_t count = 0;
  for (const WriteBatch::Frame& frame : batch_.frames()) {
    used[count++] = {frame.head, 0};
    count_written(frame);
  }
  const bool has_owner = !batch_.is_forgotten();
  batch_.clear();
  if (!has_owner) return {};
  return queue(kTxQueue).push_used(std::span(used).first(count));
}

void Net::count_written(const WriteBatch::Frame& frame) {
  if (frame.result >= 0) return counters_.transmit.count(frame.frame_bytes);
  const bool is_gone = frame.result == -EBADFD;
  counters_.transmit.count(is_gone || frame.result == -ECANCELED ? Drop::link_down : Drop::refused_by_kernel);
  // Its interface was deleted. What else it refuses is this frame.
  if (is_gone) lose_tap();
}

}  // namespace lambdo::virtio_net
