#pragma once

#include "config/config.h"
#include "config/yaml_reader.h"

namespace lambdo::config {

/// Reads the keys of `images`.
void read_images(YamlMap map, Config::Images& images);
/// Reads the keys of `registries`.
void read_registries(YamlMap map, Config::Registries& registries);

}  // namespace lambdo::config
