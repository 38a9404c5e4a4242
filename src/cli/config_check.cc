#include <cstdio>

#include "cli/commands.h"
#include "config/config.h"

namespace lambdo::cli {

/// Gives the number of errors.
static int print_problems(const std::vector<config::Diagnostic>& diagnostics) {
  int errors = 0;
  for (const config::Diagnostic& diagnostic : diagnostics) {
    const bool is_error = diagnostic.severity == config::Severity::error;
    errors += is_error ? 1 : 0;
    std::fprintf(stderr, "%s: %s\n", is_error ? "error" : "warning", diagnostic.text.c_str());
  }
  return errors;
}

int config_check(const ConfigCheckOptions& options) {
  const auto text = config::read_config_file(options.path);
  if (!text) {
    std::fprintf(stderr, "error: %s\n", text.error().message.c_str());
    return kExitFailure;
  }
  std::string summary = "agent configuration";
  std::vector<config::Diagnostic> diagnostics;
  if (options.agent) {
    diagnostics = config::check_agent_config(*text, options.path).diagnostics;
  } else if (options.language) {
    auto checked = config::check_language(*text, options.path);
    diagnostics = std::move(checked.diagnostics);
    if (checked.value) summary = "language " + checked.value->name;
  } else {
    auto checked = config::check_config(*text, options.path);
    diagnostics = std::move(checked.diagnostics);
    if (checked.value) {
      summary = std::to_string(checked.value->languages.size()) + " language(s), engine " +
                std::string(config::engine_name(checked.value->vmm.engine));
    }
  }
  const int errors = print_problems(diagnostics);
  if (errors > 0) {
    std::fprintf(stderr, "%s: %d error(s); a server would not start with it\n", options.path.c_str(), errors);
    return kExitFailure;
  }
  std::printf("%s: ok (%s)\n", options.path.c_str(), summary.c_str());
  return kExitOk;
}

}  // namespace lambdo::cli
