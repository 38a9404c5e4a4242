#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "cli/command_line_image.h"
#include "cli/usage.h"
#include "config/languages.h"
#include "config/values.h"

namespace lambdo::cli {

namespace {

constexpr const char* kExamples = R"(Examples:
  lambdo doctor                               what this machine can carry, and what to do about the rest
  lambdo config check lambdo.yaml             every problem of a configuration, with its line
  lambdo serve --config lambdo.yaml           serve POST /run on the configured address
  lambdo run -l python main.py                run a program on the server at 127.0.0.1:3000
  lambdo image pull python:3.12-slim          fetch an image; lambdo image --help tells the rest

Exit codes: 0 ok, 1 failure, 2 wrong usage, 130 interrupted.)";

constexpr const char* kServeExamples = R"(Examples:
  lambdo serve --config lambdo.yaml
  lambdo serve --config lambdo.yaml --port 8080 --language python --language bash
  lambdo --config lambdo.yaml                 the same as serve)";

constexpr const char* kRunExamples =
    R"(The exit code is that of the program; 1 also where it could not be run, 2 for wrong usage.

Examples:
  lambdo run -l python main.py helper.py      main.py is started, helper.py lies beside it
  echo 1 2 | lambdo run -l python -i - sum.py the program reads standard input
  lambdo run -l bash hello.sh -- one two      what follows -- are the program's arguments
  lambdo run --local --config lambdo.yaml -l python main.py)";

constexpr const char* kDoctorExamples =
    R"(Exits with 0 where an engine is usable, or the configuration can be served; else with 1.

Examples:
  lambdo doctor
  lambdo doctor --config lambdo.yaml          its engine, guest kernel and network too
  lambdo doctor --json | jq .engine)";

constexpr const char* kConfigExamples = R"(Examples:
  lambdo config check lambdo.yaml
  lambdo config check --agent agent.yaml
  lambdo config check --language ruby.yaml)";

const std::vector<std::pair<std::string, log::Level>> kLevels = {{"debug", log::Level::debug},
                                                                 {"info", log::Level::info},
                                                                 {"warning", log::Level::warning},
                                                                 {"error", log::Level::error}};

/// The options of all commands; CLI11 writes into them while it parses.
struct Parsed {
  std::string root_config;
  std::string log_level;
  ServeOptions serve;
  RunOptions run;
  DoctorOptions doctor;
  ConfigCheckOptions check;
  ParsedImage images;
};

CLI::App* add_serve(CLI::App& app, Parsed& parsed) {
  CLI::App* serve = app.add_subcommand("serve", "Serve POST /run over HTTP until it is told to stop");
  serve->add_option("-c,--config", parsed.serve.config_path, "Configuration file")->type_name("FILE");
  serve
      ->add_option("-p,--port", parsed.serve.port,
                   "HTTP port, instead of the file's api.web_port; 0: any free one")
      ->type_name("PORT")
      ->check(whole_number(0, config::kMaxPort));
  serve
      ->add_option("-l,--language", parsed.serve.languages,
                   "Serve only this language of the file (repeatable)")
      ->type_name("NAME")
      ->allow_extra_args(false);
  serve->add_option("--state-dir", parsed.serve.state_dir, "Instead of the file's state_dir")
      ->type_name("DIR");
  std::vector<std::string> levels;
  levels.reserve(kLevels.size());
  for (const auto& [name, level] : kLevels) levels.push_back(name);
  serve
      ->add_option("--log-level", parsed.log_level,
                   "Instead of the file's log.level: debug, info, warning or error")
      ->type_name("LEVEL")
      ->check(one_of(levels));
  serve->footer(kServeExamples);
  return serve;
}

/// What the server or the configuration allows may be less.
void add_limits(CLI::App& run, RunOptions& options) {
  const engine::Limits highest = config::highest_limits();
  const auto add = [&run](const char* name, std::optional<uint64_t>& target, const char* type, uint64_t most,
                          const std::string& description) {
    run.add_option(name, target, "Limit: " + description + ", at most " + std::to_string(most))
        ->type_name(type)
        ->check(whole_number(1, most));
  };
  add("--wall-ms", options.wall_ms, "MS", highest.wall_ms, "time for all steps");
  add("--cpu-ms", options.cpu_ms, "MS", highest.cpu_ms, "processor time");
  add("--memory-mb", options.memory_mb, "MIB", highest.memory_mb, "memory");
  add("--output-bytes", options.output_bytes, "BYTES", highest.output_bytes, "kept of each output");
  add("--processes", options.processes, "COUNT", highest.processes, "processes at one time");
}

CLI::App* add_run(CLI::App& app, Parsed& parsed) {
  RunOptions& options = parsed.run;
  CLI::App* run = app.add_subcommand("run", "Run one program and exit with its code");
  CLI::Option* server = run->add_option("-s,--server", options.server, "The server's address")
                            ->type_name("URL")
                            ->capture_default_str();
  CLI::Option* local = run->add_flag("--local", options.local, "Run on this machine, without a server");
  CLI::Option* config = run->add_option("-c,--config", options.config_path, "Configuration file, for --local")
                            ->type_name("FILE");
  local->needs(config)->excludes(server);
  config->needs(local);
  run->add_option("-l,--language", options.language, "Language, as configured")
      ->type_name("NAME")
      ->required();
  run->add_option("--language-version", options.version, "Its version; the first one configured otherwise")
      ->type_name("VERSION");
  run->add_option("-i,--input", options.input_path, "Standard input of the program: a file, or - for ours")
      ->type_name("FILE");
  run->add_flag("--json", options.json, "Print the whole response as JSON");
  add_limits(*run, options);
  run->add_option("FILE", options.files, "Source files; the first is started")->required();
  run->footer(kRunExamples);
  return run;
}

CLI::App* add_doctor(CLI::App& app, Parsed& parsed) {
  CLI::App* doctor =
      app.add_subcommand("doctor", "Say what this machine can carry, with a remedy for what it cannot");
  doctor
      ->add_option("-c,--config", parsed.doctor.config_path,
                   "Configuration file: whether this machine can serve it")
      ->type_name("FILE");
  doctor->add_flag("--json", parsed.doctor.json, "Print it as JSON");
  doctor->footer(kDoctorExamples);
  return doctor;
}

CLI::App* add_config_check(CLI::App& app, Parsed& parsed) {
  CLI::App* config = app.add_subcommand("config", "Work with configuration files");
  config->require_subcommand(1);
  config->footer(kConfigExamples);
  CLI::App* check =
      config->add_subcommand("check", "Print every problem of a configuration file, with its line");
  check->add_option("FILE", parsed.check.path, "The file")->required();
  CLI::Option* agent = check->add_flag("--agent", parsed.check.agent, "It is an agent's (kind: AgentConfig)");
  check->add_flag("--language", parsed.check.language, "It is one language's (kind: Language)")
      ->excludes(agent);
  check->footer(kConfigExamples);
  return check;
}

Command image_options(const ParsedImage& parsed) {
  const ImageOptions& options = parsed.image;
  if (options.verb == ImageVerb::pull && options.images.empty() && !options.all) {
    return usage_error(*parsed.image_app->get_subcommand("pull"),
                       "name an image, or --all with --config FILE");
  }
  return options;
}

Command serve_command(const CLI::App& serve, Parsed& parsed) {
  if (parsed.serve.config_path.empty()) parsed.serve.config_path = parsed.root_config;
  if (parsed.serve.config_path.empty())
    return usage_error(serve, "--config FILE is missing: the configuration to serve");
  for (const auto& [name, level] : kLevels) {
    if (name == parsed.log_level) parsed.serve.log_level = level;
  }
  return parsed.serve;
}

}  // namespace

int print(const PrintAndExit& text) {
  std::fputs(text.out.c_str(), stdout);
  std::fputs(text.error.c_str(), stderr);
  return text.exit_code;
}

Command parse_command_line(const std::vector<std::string>& arguments, const std::string& version) {
  CLI::App app(
      "Lambdo runs untrusted code: POST /run takes source files and a language, and answers with the output.",
      "lambdo");
  Parsed parsed;
  app.formatter(std::make_shared<HelpFormatter>());  // the commands take it over
  app.set_version_flag("--version", "lambdo " + version);
  app.add_option("-c,--config", parsed.root_config,
                 "Serve with this configuration (the same as serve --config)")
      ->type_name("FILE");
  app.require_subcommand(0, 1);
  app.footer(kExamples);
  const CLI::App* serve = add_serve(app, parsed);
  const CLI::App* run = add_run(app, parsed);
  const CLI::App* doctor = add_doctor(app, parsed);
  const CLI::App* check = add_config_check(app, parsed);
  add_image(app, parsed.images);
  add_initramfs(app, parsed.images);

  // CLI11 would take what follows -- for more files.
  const auto separator = std::ranges::find(arguments, "--");
  std::vector<std::string> reversed(arguments.begin(), separator);
  std::ranges::reverse(reversed);  // as App::parse(vector) takes it
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    return parse_failure(app, error);
  }
  if (separator != arguments.end()) {
    if (!run->parsed()) return usage_error(app, "only lambdo run takes arguments after --");
    parsed.run.args.assign(separator + 1, arguments.end());
  }
  const bool is_serve = serve->parsed() || app.get_subcommands().empty();
  if (!parsed.root_config.empty() && !is_serve) {
    return usage_error(app, "--config before a command is for serve; write it after the command's name");
  }
  if (run->parsed()) return parsed.run;
  if (doctor->parsed()) return parsed.doctor;
  if (check->parsed()) return parsed.check;
  if (parsed.images.image_app->parsed()) return image_options(parsed.images);
  if (parsed.images.initramfs_app->parsed()) return parsed.images.initramfs;
  if (!serve->parsed() && parsed.root_config.empty())
    return usage_error(app, "name a command, or --config FILE to serve");
  return serve_command(*serve, parsed);
}

}  // namespace lambdo::cli
