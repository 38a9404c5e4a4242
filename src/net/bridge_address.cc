#include "net/bridge_address.h"

namespace lambdo::net {

Result<> check_bridge_ipv6(const Ipv6Subnet& address) {
  const char* wrong = nullptr;
  if (address.prefix_len < 1 || address.prefix_len > 96) {
    wrong = "its prefix length has to be 1 to 96";
  } else if (!address.address.is_global_or_unique_local()) {
    wrong = "it has to be global or unique local, in 2000::/3 or fc00::/7";
  } else if (address.address == address.network()) {
    // Any router's (RFC 4291, 2.6.1).
    wrong = "it is its network's first one, which no machine has for itself";
  }
  if (wrong == nullptr) return {};
  return fail(Code::invalid_argument, address.text() + " cannot be a bridge's IPv6 address: " + wrong +
                                          "; write one such as fd12:3456:789a:1::1/64");
}

}  // namespace lambdo::net
