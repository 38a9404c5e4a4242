#pragma once

#include "config/config.h"
#include "config/yaml_reader.h"
#include "net/policy.h"

namespace lambdo::config {

/// Reads the keys of `network` of the server.
void read_network(YamlMap map, Config::Network& network);
/// Whether a guest can ask this resolver. Of IPv4: no address of "this host", loopback, multicast or reserved
/// ones; a link-local one is a cloud's. Of IPv6, and only with `ipv6`: global and unique local ones.
bool is_askable(const IpAddress& resolver, bool ipv6);
/// Reads `network` of a language: an access, or a map with more.
void read_policy(const YamlValue& value, net::Policy& policy);

}  // namespace lambdo::config
