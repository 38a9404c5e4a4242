#include "cli/config_check.h"

#include <cstdio>
#include <utility>
#include <vector>

#include "cli/exit_codes.h"
#include "cli/usage.h"
#include "config/config.h"

namespace lambdo::cli {

static constexpr const char* kConfigExamples = R"(Examples:
  lambdo config check lambdo.yaml
  lambdo config check --agent agent.yaml
  lambdo config check --language ruby.yaml)";

CLI::App* add_config_check(CLI::App& app, ConfigCheckOptions& options) {
  CLI::App* config = app.add_subcommand("config", "Work with configuration files");
  config->require_subcommand(1);
  config->footer(kConfigExamples);
  CLI::App* check =
      config->add_subcommand("check", "Print every problem of a configuration file, with its line");
  check->add_option("FILE", options.path, "The file")->required();
  CLI::Option* agent = check->add_flag("--agent", options.agent, "It is an agent's (kind: AgentConfig)");
  check->add_flag("--language", options.language, "It is one language's (kind: Language)")->excludes(agent);
  check->footer(kConfigExamples);
  return check;
}

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
