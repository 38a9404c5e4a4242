#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "vsock/connection.h"
#include "vsock/stream.h"

namespace lambdo::vsock {

/// The streams of a device: those that the guest has, found by their ports, and those that the guest is done
/// with while their sockets still get what the guest sent.
class StreamTable final : private StreamOwner {
 public:
  /// `reactor` and `work_due` outlive the table. `work_due` is notified when handle_ready() has something to
  /// do.
  StreamTable(reactor::Reactor& reactor, reactor::Event& work_due, uint32_t buffer_bytes)
      : reactor_(reactor), work_due_(work_due), buffer_bytes_(buffer_bytes) {}

  /// All streams.
  [[nodiscard]] size_t size() const { return streams_.size() + leaving_.size(); }
  /// Those that the guest has.
  [[nodiscard]] size_t attached() const { return streams_.size(); }
  /// The stream that the guest has with these ports, or nullptr.
  [[nodiscard]] Stream* find(const Ports& ports) const;

  /// A stream that the guest has from now on. Its ports are free.
  Stream& add(const Connection& connection, Fd socket);
  /// Something happened to a stream that the guest has: it is watched for what is missing, and queued where
  /// it has packets for the guest.
  void update(Stream& stream);
  /// The guest is done with a stream, or gone: what the guest sent still goes to the host. The stream may be
  /// dead afterwards.
  void detach(Stream& stream);
  void detach_all();
  /// Detaches all, and the host gets nothing more either.
  void close_all();

  /// Whether sockets became ready since the last handle_ready().
  [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
  /// Looks after the streams whose sockets became ready.
  void handle_ready();

  /// Whether streams have packets for the guest.
  [[nodiscard]] bool has_packets() const { return !sending_.empty(); }
  /// The stream whose turn it is to send a packet; update() queues it again. nullptr where there is none.
  Stream* take_sender() { return sending_.take(); }

 private:
  struct PortsHash {
    size_t operator()(const Ports& ports) const;
  };

  void stream_ready(Stream& stream) override;
  void finish(Stream& stream);

  reactor::Reactor& reactor_;
  reactor::Event& work_due_;
  const uint32_t buffer_bytes_;
  std::unordered_map<Ports, std::unique_ptr<Stream>, PortsHash> streams_;
  std::vector<std::unique_ptr<Stream>> leaving_;  // no longer the guest's
  StreamList ready_;                              // sockets that became ready
  StreamList sending_;                            // have packets for the guest, each once, in turn
};

}  // namespace lambdo::vsock
