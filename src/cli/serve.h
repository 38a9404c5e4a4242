#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"

namespace lambdo::cli {

/// `lambdo serve`, and `lambdo --config FILE`. What is set goes before the file.
struct ServeOptions {
  std::string config_path;
  std::optional<uint16_t> port;
  std::vector<std::string> languages;  ///< only these of the file's; empty: all
  std::optional<std::string> state_dir;
  std::optional<log::Level> log_level;
};

/// Declares the verb, which writes into `options` when it is parsed. `options` outlives the parsing.
CLI::App* add_serve(CLI::App& app, ServeOptions& options);

/// Serves; gives the process's exit code. Of lambdo-server only.
int serve(const ServeOptions& options);

}  // namespace lambdo::cli
