#pragma once

#include <cstddef>

#include "base/error.h"
#include "virtio/queue.h"

namespace lambdo::vsock {

/// Tells a driver that goes on from a snapshot that its connections are gone: the event
/// VIRTIO_VSOCK_EVENT_TRANSPORT_RESET on the event queue (virtio 1.2, 5.10.6.7).
///
/// The driver then drops every connection that it knows. One that was made before would be among them, so
/// packets for the guest wait until it has dealt with the event.
class TransportReset {
 public:
  /// A driver runs; where it is `restored`, it has to be told.
  void activate(bool restored);
  /// The driver is gone: its next one knows of no connection.
  void clear();

  /// Whether packets for the guest have to wait.
  [[nodiscard]] bool holds_packets() const { return holds_packets_; }
  /// Whether a driver that goes on from a snapshot of now would have to be told.
  [[nodiscard]] bool is_due() const { return is_due_ || holds_packets_; }
  /// Takes over what is_due() said when the guest was saved.
  void restore(bool is_due) { is_due_ = is_due; }

  /// The driver notified the event queue, or it is to be looked at after a restore.
  Result<> serve(virtio::Queue& events);

 private:
  bool is_due_ = false;
  bool holds_packets_ = false;
  size_t chains_left_ = 0;  // on offer when the event was given
};

}  // namespace lambdo::vsock
