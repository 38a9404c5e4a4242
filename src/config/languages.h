#pragma once

#include "config/config.h"
#include "config/yaml_reader.h"

namespace lambdo::config {

/// Reads the keys of engine::Limits over what `limits` holds; values above `maximum` are an error.
void read_limits(YamlMap map, engine::Limits& limits, const engine::Limits& maximum);
/// The largest value that each limit may have at all.
engine::Limits highest_limits();
/// Each limit at most what `maximum` has.
engine::Limits lowered_to(engine::Limits limits, const engine::Limits& maximum);

/// Reads apiVersion and kind, which must be `kind`.
void read_header(YamlMap& root, std::string_view kind);

/// Reads `languages` of the root map of the file `file_name` into config.languages; config.limits must have
/// been read. An entry may include a file of kind Language.
void read_languages(YamlMap& root, const std::string& file_name, Config& config);

/// Reads a file of kind Language by itself, with the default limits.
void read_language_definition(YamlMap& root, engine::Language& language);

}  // namespace lambdo::config
