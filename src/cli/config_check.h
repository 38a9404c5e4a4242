#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace lambdo::cli {

/// `lambdo config check FILE`: prints all problems; exits with 0 where none is an error.
struct ConfigCheckOptions {
  std::string path;
  bool agent = false;     ///< the file is an agent's
  bool language = false;  ///< the file is one language's definition
};

/// Declares the verb, which writes into `options` when it is parsed. `options` outlives the parsing.
CLI::App* add_config_check(CLI::App& app, ConfigCheckOptions& options);

/// Gives the process's exit code.
int config_check(const ConfigCheckOptions& options);

}  // namespace lambdo::cli
