#include "server/serve.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/text.h"
#include "cli/command_error.h"
#include "cli/exit_codes.h"
#include "cli/serve.h"
#include "config/config.h"

namespace lambdo::cli {

namespace {

/// Leaves only the languages that the command line names.
Result<> keep_languages(config::Config& config, const std::vector<std::string>& names) {
  if (names.empty()) return {};
  for (const std::string& name : names) {
    const auto known = [&](const engine::Language& language) {
      return equals_ignoring_case(language.name, name);
    };
    if (std::ranges::none_of(config.languages, known)) {
      return fail(Code::not_found, "--language: the configuration has no language \"" + name + "\"");
    }
  }
  std::erase_if(config.languages, [&](const engine::Language& language) {
    return std::ranges::none_of(
        names, [&](const std::string& name) { return equals_ignoring_case(language.name, name); });
  });
  return {};
}

Result<config::Config> effective_config(const ServeOptions& options) {
  config::Config config = TRY(config::load_config(options.config_path));
  if (options.port) config.api.web_port = *options.port;
  if (options.state_dir) config.state_dir = *options.state_dir;
  if (options.log_level) config.log.level = *options.log_level;
  TRY(keep_languages(config, options.languages));
  return config;
}

}  // namespace

int serve(const ServeOptions& options) {
  const auto config = effective_config(options);
  if (!config) {
    print_error("serve", config.error().message,
                config.error().code == Code::invalid_argument
                    ? "lambdo config check FILE tells all problems of a configuration, warnings too"
                    : "");
    return kExitFailure;
  }
  log::configure(config->log.level, config->log.format);
  for (const std::string& warning : config->warnings) log::warning(warning);
  if (const auto served = server::serve(*config); !served) {
    log::error("cannot serve", {{"error", served.error().message}, {"code", code_name(served.error().code)}});
    return kExitFailure;
  }
  return kExitOk;
}

}  // namespace lambdo::cli
