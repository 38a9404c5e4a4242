#include "vsock/transport_reset.h"

#include <array>
#include <cstdint>

namespace lambdo::vsock {

void TransportReset::activate(bool restored) {
  if (restored) is_due_ = true;
  holds_packets_ = is_due_;
}

void TransportReset::clear() {
  is_due_ = false;
  holds_packets_ = false;
}

/// How many chains the driver has on offer for events; whatever it adds from now on, it notifies.
static Result<size_t> count_chains(virtio::Queue& events) {
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

Result<> TransportReset::serve(virtio::Queue& events) {
  for (size_t i = 0; i < events.state().size && is_due_; ++i) {
    const auto chain = TRY(events.pop());
    if (!chain) {
      if (events.enable_notifications()) continue;
      // Without a buffer the driver cannot be told: better to go on without than not at all.
      holds_packets_ = false;
      return {};
    }
    // VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is 0 (virtio 1.2, 5.10.6.7).
    constexpr std::array<std::byte, 4> kTransportReset{};
    const size_t written_bytes = chain->copy_writable(0, kTransportReset);
    // Counted before the driver can see the event: what the driver adds in answer comes on top.
    chains_left_ = TRY(count_chains(events));
    TRY(events.push_used(chain->head(), static_cast<uint32_t>(written_bytes)));
    if (written_bytes < kTransportReset.size()) continue;
    is_due_ = false;
    return {};
  }
  // Linux offers the buffer of an event again when it has dealt with it.
  if (holds_packets_ && !is_due_) holds_packets_ = TRY(count_chains(events)) <= chains_left_;
  return {};
}

}  // namespace lambdo::vsock
