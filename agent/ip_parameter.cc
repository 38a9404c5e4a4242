#include "agent/ip_parameter.h"

#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "base/text.h"

namespace lambdo::agent {

static constexpr std::string_view kName = "ip=";

std::optional<std::string_view> find_ip_parameter(std::string_view command_line) {
  std::optional<std::string_view> found;
  while (!command_line.empty()) {
    const size_t end = command_line.find_first_of(" \n");
    const std::string_view word = command_line.substr(0, end);
    if (word.starts_with(kName)) found = word.substr(kName.size());
    command_line.remove_prefix(end == std::string_view::npos ? command_line.size() : end + 1);
  }
  return found;
}

/// 255.255.255.0 is 24; nullopt where the ones are not all in front.
static std::optional<unsigned> prefix_of(const std::string& netmask) {
  const auto mask = Ipv4Address::parse(netmask);
  if (!mask) return std::nullopt;
  const int ones = std::countl_one(mask->value);
  if (std::popcount(mask->value) != ones) return std::nullopt;
  return static_cast<unsigned>(ones);
}

Result<InterfacePlan> parse_ip_parameter(std::string_view value) {
  const std::string shown = "ip=" + std::string(value);
  const auto parts = split(value, ':');
  std::vector<std::string> fields(parts.begin(), parts.end());
  enum Field { client, server, gateway, netmask, name, device, autoconf };
  fields.resize(std::max<size_t>(fields.size(), autoconf + 1));
  const std::string& how = fields[autoconf];
  if (!how.empty() && how != "off" && how != "none") {
    return fail(Code::invalid_argument, shown + ": only a static network is understood, not '" + how + "'");
  }
  if (fields[device].empty()) return fail(Code::invalid_argument, shown + ": names no device");
  const auto prefix_bits = prefix_of(fields[netmask]);
  if (!prefix_bits) {
    return fail(Code::invalid_argument, shown + ": '" + fields[netmask] + "' is no netmask");
  }
  InterfacePlan plan{.name = fields[device]};
  plan.addresses.push_back(TRY(parse_interface_address(
      AF_INET, shown, fields[client] + "/" + std::to_string(*prefix_bits), fields[gateway])));
  return plan;
}

}  // namespace lambdo::agent
