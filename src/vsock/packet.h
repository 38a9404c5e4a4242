#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace lambdo::vsock {

/// What a guest calls its host (virtio 1.2, 5.10.4).
inline constexpr uint64_t kHostCid = 2;
inline constexpr size_t kHeaderBytes = 44;
/// The most that one packet carries, either way: what Linux's driver sends and accepts.
inline constexpr uint32_t kMaxPayloadBytes = 64 << 10;

/// virtio 1.2, 5.10.6.
enum class Op : uint16_t {
  request = 1,
  response = 2,
  reset = 3,
  shutdown = 4,
  data = 5,  ///< VIRTIO_VSOCK_OP_RW
  credit_update = 6,
  credit_request = 7,
};

inline constexpr uint16_t kTypeStream = 1;

/// Flags of Op::shutdown (virtio 1.2, 5.10.6.5).
inline constexpr uint32_t kShutdownReceive = 1;
inline constexpr uint32_t kShutdownSend = 2;
inline constexpr uint32_t kShutdownBoth = kShutdownReceive | kShutdownSend;

/// The header of every packet as it lies in guest memory (virtio 1.2, 5.10.6): its first kHeaderBytes, little
/// endian. Untrusted: every field can have every value.
struct Header {
  uint64_t src_cid;
  uint64_t dst_cid;
  uint32_t src_port;
  uint32_t dst_port;
  uint32_t len_bytes;
  uint16_t type;
  uint16_t op;
  uint32_t flags;
  uint32_t buf_alloc;
  uint32_t fwd_cnt;
  friend bool operator==(const Header&, const Header&) = default;
};

using RawHeader = std::array<std::byte, kHeaderBytes>;

Header decode(const RawHeader& raw);
RawHeader encode(const Header& header);

/// The operation, where it is one that virtio 1.2 knows.
std::optional<Op> op_of(const Header& header);

/// What to do with a packet before anybody looks for its connection.
enum class Admission {
  accept,
  ignore,  ///< not between this guest and its host
  refuse,  ///< answered by a reset
};

/// Judges the addresses, the type and the length of a packet from guest `guest_cid`, behind whose header
/// `payload_bytes` are readable.
Admission admit(const Header& header, uint64_t guest_cid, uint64_t payload_bytes);

}  // namespace lambdo::vsock
