#pragma once

#include <cstdint>

#include "base/mac_address.h"
#include "virtio_net/rate_limit.h"

namespace lambdo::virtio_net {

struct NetOptions {
  /// Unicast. Frames that the guest sends from another address are dropped.
  MacAddress mac;
  uint16_t mtu = 1500;  ///< from kMinMtu on
  /// Whether checksums and segmentation are offered to the guest.
  bool offloads = true;
  /// Without a limit unless said. A segmented frame counts as the packets that it becomes, and its own bytes.
  DirectionLimits transmit_limits;  ///< from the guest
  DirectionLimits receive_limits;   ///< to the guest
};

}  // namespace lambdo::virtio_net
