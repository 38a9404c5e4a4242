// From the guest to the host.

#include <algorithm>
#include <array>

#include "virtio_net/device.h"

namespace lambdo::virtio_net {

using virtio::DescriptorChain;
using virtio::Work;

namespace {

constexpr size_t kSourceOffset = virtio::MacAddress::kBytes;

/// Parts of memory for one call of writev(2), on the stack.
class Parts {
 public:
  void add(std::span<const std::byte> bytes) {
    parts_[count_++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};  // writev only reads
  }
  /// What of `buffers` is behind their first `skip_bytes`.
  void add_rest(std::span<const virtio::Buffer> buffers, size_t skip_bytes) {
    for (const virtio::Buffer& buffer : buffers) {
      const size_t skipped = std::min<size_t>(skip_bytes, buffer.len_bytes);
      skip_bytes -= skipped;
      if (skipped < buffer.len_bytes) add(buffer.bytes().subspan(skipped));
    }
  }
  [[nodiscard]] std::span<const iovec> get() const { return {parts_.data(), count_}; }

 private:
  size_t count_ = 0;
  // Only the first count_ are initialised: parts are made for every frame.
  std::array<iovec, virtio::kMaxQueueSize + 2> parts_;  // NOLINT(cppcoreguidelines-pro-type-member-init)
};

}  // namespace

Result<Work> Net::take_frames() {
  virtio::Queue& frames = queue(kTxQueue);
  Budget budget(reactor_);
  frames.disable_notifications();
  while (budget.begin_frame()) {
    const auto chain = TRY(frames.pop());
    if (!chain) {
      if (!frames.enable_notifications()) return Work::drained;
      continue;
    }
    // Held back frames stay in the queue, and the driver is not asked for more.
    if (!transmit_limiter_.is_ready(budget.now_ns())) {
      frames.unpop();
      ++counters_.transmit.pauses;
      transmit_pause_.set(transmit_limiter_.ready_at_ns());
      return Work::drained;
    }
    if (transmit(*chain, budget) == Sent::no_room) {
      frames.unpop();
      is_tap_full_ = true;
      output_.arm(tap_.fd());
      return Work::drained;
    }
    TRY(frames.push_used(chain->head(), 0));
  }
  return Work::more;
}

/// Handles one frame for good, unless there is no room. Nothing the guest says in it is an error of the
/// device.
Net::Sent Net::transmit(const DescriptorChain& chain, Budget& budget) {
  DirectionCounters& counters = counters_.transmit;
  const auto drop = [&](Drop why) {
    counters.count(why);
    return Sent::done;
  };
  if (!is_link_up()) return drop(Drop::link_down);
  if (chain.readable_bytes() < kHeaderBytes + kEthernetBytes) return drop(Drop::malformed);
  // Header and start are looked at in copies, and the copies are what is passed on.
  Header header;
  chain.copy_readable(0, std::as_writable_bytes(std::span(&header, 1)));
  std::array<std::byte, FrameStart::kMaxBytes> copy;
  const size_t wanted_bytes =
      header.gso_type == Header::kGsoNone ? kEthernetBytes + kVlanTagBytes : copy.size();
  const auto start =
      std::span(copy).first(chain.copy_readable(kHeaderBytes, std::span(copy).first(wanted_bytes)));
  const auto source = std::as_bytes(std::span(options_.mac.bytes));
  if (!std::ranges::equal(start.subspan(kSourceOffset, source.size()), source)) {
    return drop(Drop::foreign_source);
  }
  const uint64_t frame_bytes = chain.readable_bytes() - kHeaderBytes;
  const auto frame = check_transmit(header, {start, frame_bytes}, context_->features, options_.mtu);
  if (!frame) return drop(frame.error());
  if (write_frame(chain, *frame, start) == Sent::no_room) return Sent::no_room;
  transmit_limiter_.take(frame_bytes, frame->segments);
  budget.spend(frame_bytes);
  return Sent::done;
}

Net::Sent Net::write_frame(const DescriptorChain& chain, const Transmittable& frame,
                           std::span<const std::byte> start) {
  Parts parts;
  parts.add(std::as_bytes(std::span(&frame.header, 1)));
  parts.add(start);
  parts.add_rest(chain.readable(), kHeaderBytes + start.size());
  const auto written = tap_.write(parts.get());
  if (written && !*written) return Sent::no_room;
  if (written) {
    counters_.transmit.count(chain.readable_bytes() - kHeaderBytes);
  } else {
    counters_.transmit.count(Drop::refused_by_kernel);
    // Its interface was deleted. What else it refuses is this frame.
    if (written.error().os_errno == EBADFD) lose_tap();
  }
  return Sent::done;
}

}  // namespace lambdo::virtio_net
