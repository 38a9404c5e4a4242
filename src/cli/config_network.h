#pragma once

#include "cli/config.h"
#include "cli/yaml_reader.h"
#include "net/policy.h"

namespace lambdo::cli {

/// Reads the keys of `network` of the server.
void read_network(YamlMap map, Config::Network& network);
/// Whether a guest can ask this resolver: of no address that is special, and of IPv6 only with `ipv6`.
bool is_askable(const net::IpAddress& resolver, bool ipv6);
/// Reads `network` of a language: an access, or a map with more.
void read_policy(const YamlValue& value, net::Policy& policy);

}  // namespace lambdo::cli
