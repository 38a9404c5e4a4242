#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "base/mac_address.h"

namespace grpc_definitions {
class ConfigureRequest;
}

/// The guest's name and network as they are to be, checked.
namespace lambdo::agent {

struct InterfaceAddress {
  IpSubnet subnet;
  std::optional<IpAddress> gateway;       ///< of the same family
  std::optional<MacAddress> gateway_mac;  ///< none: the gateway is asked for
};

/// What makes `text` ("ADDRESS/PREFIX") and `gateway` (may be empty) an address that an interface can have.
/// invalid_argument names `field`.
Result<InterfaceAddress> parse_interface_address(int family, const std::string& field,
                                                 const std::string& text, const std::string& gateway);

struct InterfacePlan {
  std::string name;  ///< where not empty, instead of `mac`
  MacAddress mac{};
  std::optional<MacAddress> new_mac;
  std::vector<InterfaceAddress> addresses;  ///< at most one of each family
  uint32_t mtu = 0;                         ///< 0: as it is
  std::vector<IpAddress> dns_servers;
  std::vector<std::string> dns_search;
};

struct MachinePlan {
  std::string hostname;  ///< empty: as it is
  std::optional<InterfacePlan> interface;
};

/// invalid_argument names the field.
Result<MachinePlan> make_machine_plan(const grpc_definitions::ConfigureRequest& request);

/// Whether a machine can have the name: labels of letters, digits and inner hyphens, 64 bytes in all.
bool is_hostname(std::string_view name);

}  // namespace lambdo::agent
