// From the host to the guest.

#include <algorithm>
#include <array>

#include "vsock/device.h"

namespace lambdo::vsock {

using virtio::DescriptorChain;
using virtio::Work;

Result<Work> Vsock::give_packets() {
  virtio::Queue& packets = queue(kRxQueue);
  virtio::WorkBudget budget(kWakeUpLimits, reactor_.now_ns());
  packets.disable_notifications();
  while (budget.begin_round(reactor_.now_ns())) {
    if (!has_packets()) return Work::drained;
    const auto chain = TRY(packets.pop());
    if (!chain) {
      // Only now is a notification of use: new buffers are not news while there is nothing to put into them.
      is_starved_ = !packets.enable_notifications();
      if (is_starved_) return Work::drained;
      continue;
    }
    if (chain->writable_bytes() <= kHeaderBytes) {
      // Of no use for anything; without bytes Linux drops it.
      TRY(packets.push_used(chain->head(), 0));
      continue;
    }
    budget.spend(TRY(give_next(*chain)));
  }
  return has_packets() ? Work::more : Work::drained;
}

/// Puts one packet into `chain`, or leaves it in the queue. Returns the bytes of payload.
Result<size_t> Vsock::give_next(const DescriptorChain& chain) {
  if (refusal_count_ > 0) return give_refusal(chain);
  Stream* stream = sending_.take();
  const auto control = stream->connection.take_control(options_.guest_cid);
  if (!control) return give_data(*stream, chain);
  update(*stream);
  return push(chain, *control);
}

Result<size_t> Vsock::give_refusal(const DescriptorChain& chain) {
  const Refusal refusal = refusals_[first_refusal_];
  first_refusal_ = (first_refusal_ + 1) % kMaxRefusals;
  --refusal_count_;
  return push(chain, {.src_cid = kHostCid,
                      .dst_cid = options_.guest_cid,
                      .src_port = refusal.ports.host,
                      .dst_port = refusal.ports.guest,
                      .type = refusal.type,
                      .op = static_cast<uint16_t>(Op::reset)});
}

Result<size_t> Vsock::give_data(Stream& stream, const DescriptorChain& chain) {
  const uint64_t room_bytes = std::min<uint64_t>(chain.writable_bytes() - kHeaderBytes, kMaxPayloadBytes);
  const auto max_bytes = static_cast<uint32_t>(std::min<uint64_t>(room_bytes, stream.connection.sendable()));
  uint32_t len_bytes = 0;
  auto received = Stream::Received::nothing;
  if (max_bytes > 0 && stream.is_readable()) received = stream.receive(chain, max_bytes, len_bytes);
  if (received == Stream::Received::bytes) {
    const Header header = stream.connection.take_data(options_.guest_cid, len_bytes);
    update(stream);
    return push(chain, header);
  }
  queue(kRxQueue).unpop();
  if (received == Stream::Received::broken) {
    // The host did not read all that the guest sent: the guest is not to believe that it did.
    reset_connection(stream);
  } else {
    update(stream);
  }
  return 0;
}

Result<size_t> Vsock::push(const DescriptorChain& chain, const Header& header) {
  chain.copy_writable(0, encode(header));
  TRY(queue(kRxQueue).push_used(chain.head(), static_cast<uint32_t>(kHeaderBytes) + header.len_bytes));
  return header.len_bytes;
}

/// How many chains the driver has on offer for events; whatever it adds from now on, it notifies.
Result<size_t> Vsock::count_event_chains() {
  virtio::Queue& events = queue(kEventQueue);
  size_t count = 0;
  // The wish to be notified is about the chain after the last one popped.
  for (bool more = true; more && count < events.state().size;) {
    if (TRY(events.pop())) {
      ++count;
    } else {
      more = events.enable_notifications();
    }
  }
  for (size_t i = 0; i < count; ++i) events.unpop();
  return count;
}

Result<> Vsock::give_events() {
  virtio::Queue& events = queue(kEventQueue);
  for (size_t i = 0; i < events.state().size && transport_reset_due_; ++i) {
    const auto chain = TRY(events.pop());
    if (!chain) {
      if (events.enable_notifications()) continue;
      // Nowhere to say it: better to go on without than not at all.
      is_held_back_ = false;
      return {};
    }
    // VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is 0 (virtio 1.2, 5.10.6.7).
    constexpr std::array<std::byte, 4> kTransportReset{};
    const size_t written_bytes = chain->copy_writable(0, kTransportReset);
    // Before the driver can see the event: what it adds for it is beyond.
    event_chains_ = TRY(count_event_chains());
    TRY(events.push_used(chain->head(), static_cast<uint32_t>(written_bytes)));
    if (written_bytes < kTransportReset.size()) continue;
    transport_reset_due_ = false;
    return {};
  }
  // Linux offers the buffer of an event again when it has dealt with it.
  if (is_held_back_ && !transport_reset_due_) is_held_back_ = TRY(count_event_chains()) <= event_chains_;
  return {};
}

}  // namespace lambdo::vsock
