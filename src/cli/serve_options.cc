#include <algorithm>
#include <utility>

#include "cli/serve.h"
#include "cli/usage.h"
#include "config/values.h"

namespace lambdo::cli {

namespace {

constexpr const char* kServeExamples = R"(Examples:
  lambdo serve --config lambdo.yaml
  lambdo serve --config lambdo.yaml --port 8080 --language python --language bash
  lambdo --config lambdo.yaml                 the same as serve)";

const std::vector<std::pair<std::string, log::Level>> kLevels = {{"debug", log::Level::debug},
                                                                 {"info", log::Level::info},
                                                                 {"warning", log::Level::warning},
                                                                 {"error", log::Level::error}};

std::optional<log::Level> level_named(const std::string& name) {
  const auto found = std::ranges::find(kLevels, name, &std::pair<std::string, log::Level>::first);
  return found == kLevels.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

CLI::App* add_serve(CLI::App& app, ServeOptions& options) {
  CLI::App* serve = app.add_subcommand("serve", "Serve POST /run over HTTP until it is told to stop");
  serve->add_option("-c,--config", options.config_path, "Configuration file")->type_name("FILE");
  serve
      ->add_option("-p,--port", options.port,
                   "HTTP port, instead of the file's api.web_port; 0: any free one")
      ->type_name("PORT")
      ->check(whole_number(0, config::kMaxPort));
  serve->add_option("-l,--language", options.languages, "Serve only this language of the file (repeatable)")
      ->type_name("NAME")
      ->allow_extra_args(false);
  serve->add_option("--state-dir", options.state_dir, "Instead of the file's state_dir")->type_name("DIR");
  std::vector<std::string> levels;
  levels.reserve(kLevels.size());
  for (const auto& [name, level] : kLevels) levels.push_back(name);
  serve
      ->add_option_function<std::string>(
          "--log-level", [&options](const std::string& name) { options.log_level = level_named(name); },
          "Instead of the file's log.level: debug, info, warning or error")
      ->type_name("LEVEL")
      ->check(one_of(levels));
  serve->footer(kServeExamples);
  return serve;
}

}  // namespace lambdo::cli
