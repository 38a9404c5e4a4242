#pragma once

#include "cli/config.h"
#include "cli/yaml_reader.h"

namespace lambdo::cli {

/// Reads the keys of `images`.
void read_images(YamlMap map, Config::Images& images);
/// Reads the keys of `registries`.
void read_registries(YamlMap map, Config::Registries& registries);

}  // namespace lambdo::cli
