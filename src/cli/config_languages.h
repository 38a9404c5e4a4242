#pragma once

#include "cli/config.h"
#include "cli/yaml_reader.h"

namespace lambdo::cli {

/// Reads the keys of engine::Limits over what `limits` holds; values above `maximum` are an error.
void read_limits(YamlMap map, engine::Limits& limits, const engine::Limits& maximum);
/// The largest value that each limit may have at all.
engine::Limits highest_limits();
/// Each limit at most what `maximum` has.
engine::Limits lowered_to(engine::Limits limits, const engine::Limits& maximum);

/// Reads `languages` of the root map into config.languages; config.limits must have been read.
void read_languages(YamlMap& root, Config& config);

}  // namespace lambdo::cli
