#include "server/network_setup.h"

#include <algorithm>
#include <ranges>

#include "base/syscalls.h"
#include "config/network.h"

namespace lambdo::server {

std::vector<IpAddress> reachable_resolvers(std::string_view resolv_conf, bool ipv6) {
  constexpr size_t kMostUsed = 3;  // MAXNS of resolv.h
  constexpr std::string_view kKeyword = "nameserver";
  std::vector<IpAddress> resolvers;
  for (const auto part : std::views::split(resolv_conf, '\n')) {
    std::string_view line(part.begin(), part.end());
    if (!line.starts_with(kKeyword)) continue;
    line.remove_prefix(kKeyword.size());
    const size_t first = line.find_first_not_of(" \t");
    if (first == 0 || first == std::string_view::npos) continue;
    line.remove_prefix(first);
    const auto address = IpAddress::parse(line.substr(0, line.find_first_of(" \t")));
    if (address && config::is_askable(*address, ipv6) && resolvers.size() < kMostUsed) {
      resolvers.push_back(*address);
    }
  }
  return resolvers;
}

std::vector<IpAddress> guest_resolvers(const config::Config& config) {
  if (config.network.resolvers) return *config.network.resolvers;
  return reachable_resolvers(sys::read_file("/etc/resolv.conf").value_or(""),
                             config.network.ipv6.has_value());
}

/// A tenth of a second's worth at once, and always a few segmented frames.
static virtio_net::RateLimit rate_limit(uint64_t per_second, uint64_t least_burst) {
  using virtio_net::RateLimit;
  if (per_second == 0) return {};
  per_second = std::min(per_second, RateLimit::kMaxPerSecond);
  return {.per_second = per_second, .burst = std::clamp(per_second / 10, least_burst, RateLimit::kMaxBurst)};
}

virtio_net::DirectionLimits device_limits(const net::GuestLimits& limits) {
  constexpr uint64_t kBytesPerMbit = 125'000;
  return {.bytes = rate_limit(limits.mbit_per_s * kBytesPerMbit, 256 << 10),
          .packets = rate_limit(limits.packets_per_s, 256)};
}

Result<net::HostNetworkSettings> network_settings(const config::Config& config, net::PortKind kind,
                                                  std::optional<uint16_t> agent_port) {
  constexpr long long kNsPerMs = 1'000'000;
  net::HostNetworkSettings settings;
  settings.state_dir = config.state_dir;
  settings.bridge = config.api.bridge;
  settings.address = TRY(Ipv4Subnet::parse(config.api.bridge_address));
  settings.ipv6 = config.network.ipv6;
  settings.agent_port = agent_port;
  settings.resolvers = guest_resolvers(config);
  settings.denied = config.network.denied;
  settings.limits = config.network.limits;
  settings.kind = kind;
  settings.quarantine_ns = static_cast<long long>(config.network.quarantine_ms) * kNsPerMs;
  settings.egress = config.gives_access();
  return settings;
}

}  // namespace lambdo::server
