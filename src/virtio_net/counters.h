#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lambdo::virtio_net {

/// Why a frame went nowhere.
enum class Drop : uint8_t {
  malformed,         ///< no room for the headers of virtio and Ethernet
  bad_offload,       ///< its header asks for an offload that was not negotiated, or cannot be
  too_long,          ///< longer than the MTU allows, or than the guest's buffer
  foreign_source,    ///< the guest sent it with another address than its own
  no_buffers,        ///< the guest has too few buffers on offer
  link_down,         ///< the link is down, or the TAP is gone
  refused_by_kernel  ///< the TAP did not take it
};
inline constexpr size_t kDropCount = static_cast<size_t>(Drop::refused_by_kernel) + 1;

/// For metrics: the enumerator's own spelling.
std::string_view drop_name(Drop drop);

/// What passed in one direction since the device was made. Bytes are those of frames, without virtio's
/// header.
struct DirectionCounters {
  uint64_t frames = 0;
  uint64_t bytes = 0;
  uint64_t pauses = 0;  ///< how often a rate limit held frames back
  std::array<uint64_t, kDropCount> drops{};

  void count(uint64_t frame_bytes) {
    ++frames;
    bytes += frame_bytes;
  }
  void count(Drop drop) { ++drops[static_cast<size_t>(drop)]; }
  [[nodiscard]] uint64_t dropped(Drop drop) const { return drops[static_cast<size_t>(drop)]; }
  friend bool operator==(const DirectionCounters&, const DirectionCounters&) = default;
};

struct Counters {
  DirectionCounters transmit;  ///< from the guest
  DirectionCounters receive;   ///< to the guest
};

}  // namespace lambdo::virtio_net
