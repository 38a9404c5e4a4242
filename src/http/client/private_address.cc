#include "http/client/private_address.h"

#include "base/special_networks.h"

namespace lambdo::http {

bool is_private(const IpAddress& address) {
  if (const auto* ipv6 = std::get_if<Ipv6Address>(&address.value)) {
    // ::1 lies among the IPv4-compatible addresses, and 0.0.0.1 is private too.
    if (const auto ipv4 = carried_ipv4(*ipv6)) return is_private(*ipv4);
    if (!ipv6->is_global_unicast()) return true;
  }
  using enum NetworkKind;
  return is_special(address, {this_network, loopback, link_local, private_use, shared, protocol_assignment,
                              documentation, benchmarking, multicast, reserved});
}

}  // namespace lambdo::http
