#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "image/writers/archive_sink.h"

namespace lambdo::cli {

/// Of all commands that work on images. What is set goes before the configuration.
struct ImageSettings {
  std::string config_path;  ///< may be empty: the defaults
  std::string store;        ///< folder; empty: the configuration's
  std::string platform;     ///< "linux/arm64"; empty: the configuration's, else this machine's
  std::vector<std::string> plain_http_hosts;
  std::string ca_file;
  bool json = false;
  bool quiet = false;  ///< no progress
};

/// Declares their options; `is_of_registries`: those about registries too. `settings` outlives the parsing.
void add_image_settings(CLI::App& app, ImageSettings& settings, bool is_of_registries);

/// Declares --compression; `standard` is what help calls its default.
void add_compression(CLI::App& app, image::ArchiveCompression& compression, const std::string& standard);

}  // namespace lambdo::cli
