#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "config/config.h"
#include "net/host_network.h"
#include "virtio_net/rate_limit.h"

namespace lambdo::server {

/// Those of resolv.conf(5) that a guest can ask (config/network.h, is_askable).
std::vector<IpAddress> reachable_resolvers(std::string_view resolv_conf, bool ipv6 = false);

/// The configured resolvers, or the host's.
std::vector<IpAddress> guest_resolvers(const config::Config& config);

/// The same limits for the network device of a microVM, which holds frames back instead of dropping them.
virtio_net::DirectionLimits device_limits(const net::GuestLimits& limits);

/// What the network helper is started with. `agent_port` is what guests reach at the bridge's address by TCP,
/// where agents register that way.
Result<net::HostNetworkSettings> network_settings(const config::Config& config, net::PortKind kind,
                                                  std::optional<uint16_t> agent_port);

}  // namespace lambdo::server
