#pragma once

#include "cli/config.h"
#include "cli/yaml_reader.h"
#include "net/policy.h"

namespace lambdo::cli {

/// Reads the keys of `network` of the server.
void read_network(YamlMap map, Config::Network& network);
/// Reads `network` of a language: an access, or a map with more.
void read_policy(const YamlValue& value, net::Policy& policy);

}  // namespace lambdo::cli
