#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace grpc_definitions {
class ConfigureRequest;
}

/// The guest's name and network as they are to be, checked.
namespace lambdo::agent {

using MacAddress = std::array<uint8_t, 6>;

/// "02:00:00:00:00:01"; nullopt where `text` is no address of a single interface.
std::optional<MacAddress> parse_mac(std::string_view text);
std::string to_text(const MacAddress& mac);

struct IpAddress {
  int family = 0;  ///< AF_INET or AF_INET6
  std::array<uint8_t, 16> bytes{};

  [[nodiscard]] std::string_view view() const;  ///< 4 or 16 bytes in network order
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool is_in(const IpAddress& network, unsigned prefix_bits) const;
  bool operator==(const IpAddress&) const = default;
};

std::optional<IpAddress> parse_ip(const std::string& text);

struct InterfaceAddress {
  IpAddress address;
  unsigned prefix_bits = 0;
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
