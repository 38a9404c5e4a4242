#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"
#include "virtio/device.h"
#include "virtio/queue.h"
#include "virtio/work_budget.h"
#include "vsock/connection.h"
#include "vsock/packet.h"
#include "vsock/reset_queue.h"
#include "vsock/stream.h"
#include "vsock/stream_table.h"
#include "vsock/transport_reset.h"

namespace lambdo::vsock {

struct VsockOptions {
  /// From 3 on, within 32 bits (virtio 1.2, 5.10.4).
  uint64_t guest_cid = 3;
  /// Connections at a time, those that end included. Each takes a socket pair and up to buffer_bytes.
  size_t max_connections = 128;
  /// How much a guest may send on a connection beyond what the host has read, sockets' own buffers aside.
  uint32_t buffer_bytes = 256 << 10;
};

/// The socket device (virtio 1.2, 5.10): stream connections between a guest's AF_VSOCK sockets and host
/// sockets.
///
/// Each connection is one end of a Unix socket pair whose other end is the host's. Bytes move between guest
/// memory and that socket in one copy, by calls that never wait, when a queue is served; io_uring only tells
/// when a socket is ready. So no operation of the kernel's ever holds guest memory, and a connection whose
/// host does not read holds nobody up: what it is owed waits in a buffer as large as the credit it was given.
class Vsock final : public virtio::Device {
 public:
  static constexpr uint16_t kRxQueue = 0;
  static constexpr uint16_t kTxQueue = 1;
  static constexpr uint16_t kEventQueue = 2;
  /// Each way. The time counts because a guest that scatters its buffers over memory never touched has this
  /// process fault in a page for each of them.
  static constexpr virtio::WorkLimits kWakeUpLimits = {.rounds = 256, .bytes = 2 << 20, .time_ns = 2'000'000};

  /// What survives a snapshot. Plain; untrusted until restore() agreed.
  struct State {
    uint64_t guest_cid = 0;
    uint32_t next_host_port = 0;
    bool transport_reset_due = false;
    friend bool operator==(const State&, const State&) = default;
  };

  using Accepted = std::move_only_function<void(Fd socket, uint32_t peer_port)>;

  /// `reactor` outlives the device.
  Vsock(reactor::Reactor& reactor, VsockOptions options);
  Vsock(const Vsock&) = delete;
  Vsock& operator=(const Vsock&) = delete;
  /// stop() must have returned where the device ever ran.
  ~Vsock() override;

  /// Dials the guest's `port`; gives the host's end of a stream socket pair (AF_UNIX, SOCK_STREAM, blocking,
  /// close-on-exec) whose bytes are the connection's. closed where the guest refuses, is reset or has no
  /// running driver; cancelled with the token; resource_exhausted at the limit of connections. The device
  /// outlives the call; stop() ends it.
  reactor::Task<Result<Fd>> connect(uint32_t port, reactor::CancelToken token);

  /// Guest-initiated connections to the host's `port` arrive at the handler as such a descriptor, from inside
  /// of the loop: it must not wait, call the transport or destroy the device. An empty handler closes the
  /// port. Ports nobody listens on are refused.
  void listen(uint32_t port, Accepted accepted);

  /// Ends all connections, those being dialled with `closed`, refuses new ones, and waits for the io_uring
  /// operations that hold sockets. Guest memory is touched afterwards only inside calls of the transport's.
  reactor::Task<> stop();

  /// Connections that exist, the ending included.
  [[nodiscard]] size_t connections() const { return streams_.size(); }

  [[nodiscard]] State save() const;
  /// Into a device that has no connections. invalid_argument where the state is not of a device with these
  /// options. Connections do not survive: the guest is told by VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, and
  /// packets for it, those of connect() among them, wait until it has seen that.
  Result<> restore(const State& saved);

  [[nodiscard]] uint32_t type() const override { return 19; }
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::span<const uint16_t> queue_max_sizes() const override { return kQueueMaxSizes; }
  void read_config(uint64_t offset, std::span<std::byte> to) const override;
  Result<> activate(const virtio::ActivationContext& context) override;
  Result<virtio::Work> queue_notified(uint16_t queue) override;
  void reset() override;

 private:
  static constexpr std::array<uint16_t, 3> kQueueMaxSizes = {256, 256, 16};

  [[nodiscard]] virtio::Queue& queue(uint16_t index) { return context_->queues[index]; }

  // From the guest.
  Result<virtio::Work> take_packets();
  uint32_t take_packet(const virtio::DescriptorChain& chain);
  void take_for(Stream& stream, const Header& header, const virtio::DescriptorChain& chain);
  void accept(const Header& request);
  void refuse(const Header& header);
  void refuse(const Ports& ports, uint16_t type);

  // To the guest.
  Result<virtio::Work> give_packets();
  Result<size_t> give_next(const virtio::DescriptorChain& chain);
  Result<size_t> give_reset(const virtio::DescriptorChain& chain);
  Result<size_t> give_data(Stream& stream, const virtio::DescriptorChain& chain);
  Result<size_t> push(const virtio::DescriptorChain& chain, const Header& header);
  [[nodiscard]] bool has_packets() const {
    return !transport_reset_.holds_packets() && (!resets_.empty() || streams_.has_packets());
  }

  Stream& add(const Connection& connection, Fd socket);
  void reset_connection(Stream& stream);
  reactor::Task<> serve();
  [[nodiscard]] std::optional<Ports> free_ports(uint32_t guest_port);

  reactor::Reactor& reactor_;
  const VsockOptions options_;
  std::optional<virtio::ActivationContext> context_;
  std::map<uint32_t, Accepted> listeners_;
  reactor::Event work_due_;  // serve() waits for it
  StreamTable streams_;
  ResetQueue resets_;
  TransportReset transport_reset_;
  uint32_t next_host_port_;
  bool is_starved_ = false;  // of receive buffers
  bool is_stopping_ = false;
  bool is_serving_ = false;
  size_t dials_ = 0;
  reactor::Event dials_ended_;
  reactor::Scope scope_;
};

}  // namespace lambdo::vsock
