// Makes Ethernet addresses: one for each guest's identity, or at random.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/mac_address.h"

/// Ethernet addresses that the host makes for guests' interfaces and its own. All are locally administered
/// and unicast (IEEE 802, 8.4).
namespace lambdo::net {

/// An address that belongs to `identity`: the same for the same one and the same `attempt`, different for
/// different ones but for chance.
MacAddress mac_of(std::string_view identity, uint32_t attempt = 0);

/// One that nobody else has, but for chance.
Result<MacAddress> random_mac();

}  // namespace lambdo::net
