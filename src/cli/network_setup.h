#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "cli/config.h"
#include "net/host_network.h"
#include "virtio_net/rate_limit.h"

namespace lambdo::cli {

/// Whether guests may reach more than their host, which has to forward packets then.
bool gives_access(const Config& config);
/// Whether guests may have a network: a language has one, requests may ask for it, or agents come over it.
bool gives_network(const Config& config);

/// Those of resolv.conf(5) that a guest can ask (cli/config_network.h, is_askable).
std::vector<IpAddress> reachable_resolvers(std::string_view resolv_conf, bool ipv6 = false);

/// The configured resolvers, or the host's.
std::vector<IpAddress> guest_resolvers(const Config& config);

/// The same limits for the network device of a microVM, which holds frames back instead of dropping them.
virtio_net::DirectionLimits device_limits(const net::GuestLimits& limits);

/// What the network helper is started with. `agent_port` is what guests reach at the bridge's address by TCP,
/// where agents register that way.
Result<net::HostNetworkSettings> network_settings(const Config& config, net::PortKind kind,
                                                  std::optional<uint16_t> agent_port);

}  // namespace lambdo::cli
