#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

#include "base/error.h"
#include "virtio_net/counters.h"

/// The header in front of every frame, and what must hold for both (virtio 1.2, 5.1.6).
namespace lambdo::virtio_net {

/// virtio 1.2, 5.1.3.
namespace feature {
inline constexpr uint64_t kCsum = uint64_t{1} << 0;
inline constexpr uint64_t kGuestCsum = uint64_t{1} << 1;
inline constexpr uint64_t kMtu = uint64_t{1} << 3;
inline constexpr uint64_t kMac = uint64_t{1} << 5;
inline constexpr uint64_t kGuestTso4 = uint64_t{1} << 7;
inline constexpr uint64_t kGuestTso6 = uint64_t{1} << 8;
inline constexpr uint64_t kGuestEcn = uint64_t{1} << 9;
inline constexpr uint64_t kHostTso4 = uint64_t{1} << 11;
inline constexpr uint64_t kHostTso6 = uint64_t{1} << 12;
inline constexpr uint64_t kHostEcn = uint64_t{1} << 13;
inline constexpr uint64_t kMrgRxbuf = uint64_t{1} << 15;
inline constexpr uint64_t kStatus = uint64_t{1} << 16;
inline constexpr uint64_t kOffloads =
    kCsum | kGuestCsum | kGuestTso4 | kGuestTso6 | kGuestEcn | kHostTso4 | kHostTso6 | kHostEcn;
}  // namespace feature

/// Whether each of `features` comes with those that it needs (virtio 1.2, 5.1.3.1). Else invalid_argument.
Result<> check_features(uint64_t features);

/// As it lies in guest memory, and as the TAP takes it: little endian. Untrusted: every field can have every
/// value.
struct Header {
  static constexpr uint8_t kNeedsCsum = 1;
  static constexpr uint8_t kDataValid = 2;
  static constexpr uint8_t kGsoNone = 0;
  static constexpr uint8_t kGsoTcp4 = 1;
  static constexpr uint8_t kGsoTcp6 = 4;
  static constexpr uint8_t kGsoEcn = 0x80;

  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
  friend bool operator==(const Header&, const Header&) = default;
};
inline constexpr size_t kHeaderBytes = 12;
static_assert(sizeof(Header) == kHeaderBytes);

inline constexpr size_t kEthernetBytes = 14;
inline constexpr size_t kVlanTagBytes = 4;
inline constexpr uint16_t kMinMtu = 68;  // virtio 1.2, 5.1.4.1
/// The longest frame there is: a segmented one of the longest IP packet, with a tag.
inline constexpr size_t kMaxFrameBytes = 65535 + kEthernetBytes + kVlanTagBytes;
/// As many packets as one frame may become. The kernel makes them one by one while we wait, and a guest that
/// asks for segments of a byte asks for 65,000.
inline constexpr uint32_t kMaxSegments = 1024;

/// The longest that is not segmented.
constexpr size_t max_plain_bytes(uint16_t mtu) {
  return mtu + kEthernetBytes + kVlanTagBytes;
}

/// A frame of the guest's: its first bytes in memory that the guest cannot change any more, and its length.
struct FrameStart {
  /// How much of it is needed at most: headers of a TCP segment, options included.
  static constexpr size_t kMaxBytes = 256;
  /// How much is needed of a frame behind this header: less where nothing is left to the kernel.
  static constexpr size_t needed_bytes(const Header& header) {
    const bool is_plain = header.gso_type == Header::kGsoNone && (header.flags & Header::kNeedsCsum) == 0;
    return is_plain ? kEthernetBytes + kVlanTagBytes : kMaxBytes;
  }

  std::span<const std::byte> bytes;  ///< needed_bytes() or more, or all there are
  uint64_t frame_bytes;
};

/// What is passed on of a frame that is in order.
struct Transmittable {
  Header header;      ///< made of what was checked, nothing else
  uint32_t segments;  ///< as many packets as it becomes, at least 1
};

/// Checks a frame of the guest's, of at least kEthernetBytes, against `features` and `mtu`. The kernel may be
/// left the checksum of TCP or UDP over IP, and the segments of TCP.
std::expected<Transmittable, Drop> check_transmit(const Header& header, const FrameStart& start,
                                                  uint64_t features, uint16_t mtu);

/// The header for the guest of a frame that the TAP gave, without num_buffers: the guest gets no offload that
/// it did not ask for. Frames queued in the TAP may be older than the features.
std::expected<Header, Drop> check_receive(const Header& header, uint64_t frame_bytes, uint64_t features,
                                          uint16_t mtu);

}  // namespace lambdo::virtio_net
