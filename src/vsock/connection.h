#pragma once

#include <cstdint>
#include <optional>

#include "vsock/packet.h"

namespace lambdo::vsock {

/// What names a connection between a guest and its host.
struct Ports {
  uint32_t host;
  uint32_t guest;
  friend bool operator==(const Ports&, const Ports&) = default;
};

/// What a packet of the guest's means for its connection.
enum class Reaction {
  none,
  established,  ///< the guest took the host's call
  data,         ///< its payload goes to the host, and was counted
  shut_down,    ///< the guest shut down a direction: see guest_sends() and guest_receives()
  ended,        ///< the guest reset it
  violation,    ///< nothing that can be sent now: the connection is to be reset
};

/// The protocol state of one connection, as the host sees it: its phase, its open directions, the credit of
/// both sides, and which control packets are due. Plain data without I/O.
///
/// Credit is counted as virtio 1.2, 5.10.6.3 says, modulo 2^32: a sender may have no more on the way than the
/// receiver's buf_alloc beyond what that one has forwarded.
class Connection {
 public:
  /// The host calls: a request is due.
  static Connection dialled(const Ports& ports, uint32_t buffer_bytes);
  /// The guest called with `request`, and the host takes it: a response is due.
  static Connection accepted(const Header& request, uint32_t buffer_bytes);

  [[nodiscard]] const Ports& ports() const { return ports_; }
  [[nodiscard]] bool is_dialling() const { return is_dialling_; }

  /// An admitted packet of this connection arrived.
  Reaction receive(const Header& header);
  [[nodiscard]] bool guest_sends() const { return (guest_shutdown_ & kShutdownSend) == 0; }
  [[nodiscard]] bool guest_receives() const { return (guest_shutdown_ & kShutdownReceive) == 0; }

  /// `len_bytes` that were received left the buffer: the guest may send as many more. A credit update becomes
  /// due where the guest knows of less than half of the buffer.
  void forwarded(uint32_t len_bytes);

  /// The host's end shut down directions, kShutdown*: what remains open is host_sends() and host_receives().
  /// A shutdown becomes due.
  void shut_down(uint32_t flags);
  [[nodiscard]] bool host_sends() const { return (host_shutdown_ & kShutdownSend) == 0; }
  [[nodiscard]] bool host_receives() const { return (host_shutdown_ & kShutdownReceive) == 0; }

  /// How many bytes may be sent now: 0 also where a direction is shut down or the call is not answered.
  [[nodiscard]] uint32_t sendable() const;
  /// The host has bytes for which there is no credit. The first time, a credit request becomes due.
  void stalled();

  /// Whether a control packet is due. They go out before data.
  [[nodiscard]] bool has_control() const { return due_ != 0; }
  /// The next control packet, which is then no longer due.
  std::optional<Header> take_control(uint64_t guest_cid);
  /// The header for `len_bytes` of data, at most sendable(), which then are on the way.
  Header take_data(uint64_t guest_cid, uint32_t len_bytes);

 private:
  enum Due : uint8_t {
    kRequest = 1,
    kResponse = 2,
    kCreditRequest = 4,
    kShutdown = 8,
    kCreditUpdate = 16,
  };

  Connection(const Ports& ports, uint32_t buffer_bytes) : ports_(ports), buffer_bytes_(buffer_bytes) {}
  void learn_credit(const Header& header);
  Reaction receive_open(Op op, const Header& header);
  Reaction receive_data(uint32_t len_bytes);
  Header make(uint64_t guest_cid, Op op);

  Ports ports_;
  uint32_t buffer_bytes_;
  bool is_dialling_ = false;
  bool asked_for_credit_ = false;
  uint8_t due_ = 0;
  uint8_t guest_shutdown_ = 0;
  uint8_t host_shutdown_ = 0;
  // Counts of payload bytes, modulo 2^32.
  uint32_t received_ = 0;
  uint32_t forwarded_ = 0;
  uint32_t announced_ = 0;  // forwarded_ as the guest was last told
  uint32_t sent_ = 0;
  uint32_t guest_buffer_bytes_ = 0;
  uint32_t guest_forwarded_ = 0;
};

}  // namespace lambdo::vsock
