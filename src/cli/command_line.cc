#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>

#include "cli/reference.h"
#include "cli/usage.h"

namespace lambdo::cli {

namespace {

constexpr const char* kExamples = R"(Examples:
  lambdo doctor                               what this machine can carry, and what to do about the rest
  lambdo config check lambdo.yaml             every problem of a configuration, with its line
  lambdo serve --config lambdo.yaml           serve POST /run on the configured address
  lambdo run -l python main.py                run a program on the server at 127.0.0.1:3000
  lambdo image pull python:3.12-slim          fetch an image; lambdo image --help tells the rest

Exit codes: 0 ok, 1 failure, 2 wrong usage, 130 interrupted.)";

/// What the verbs write into while they are parsed.
struct Parsed {
  std::string root_config;
  ServeOptions serve;
  RunOptions run;
  DoctorOptions doctor;
  ConfigCheckOptions check;
  ImageOptions images;
  InitramfsOptions initramfs;
};

/// CLI11's parser with all verbs declared. `parsed` outlives it.
struct Parser {
  explicit Parser(Parsed& parsed, const std::string& version)
      : app("Lambdo runs untrusted code: POST /run takes source files and a "
            "language, and answers with the output.",
            "lambdo") {
    app.formatter(std::make_shared<HelpFormatter>());  // the verbs take it over
    app.set_version_flag("--version", "lambdo " + version);
    app.add_option("-c,--config", parsed.root_config,
                   "Serve with this configuration (the same as serve --config)")
        ->type_name("FILE");
    app.require_subcommand(0, 1);
    app.footer(kExamples);
    serve = add_serve(app, parsed.serve);
    run = add_run(app, parsed.run);
    doctor = add_doctor(app, parsed.doctor);
    check = add_config_check(app, parsed.check);
    image = add_image(app, parsed.images);
    initramfs = add_initramfs(app, parsed.initramfs);
  }

  CLI::App app;
  CLI::App* serve;
  CLI::App* run;
  CLI::App* doctor;
  CLI::App* check;
  CLI::App* image;
  CLI::App* initramfs;
};

Command image_command(const CLI::App& image, const ImageOptions& options) {
  if (options.verb == &kImagePull && options.images.empty() && !options.all)
    return usage_error(*image.get_subcommand(kImagePull.name), "name an image, or --all with --config FILE");
  return options;
}

Command serve_command(const CLI::App& serve, Parsed& parsed) {
  if (parsed.serve.config_path.empty()) parsed.serve.config_path = parsed.root_config;
  if (parsed.serve.config_path.empty())
    return usage_error(serve, "--config FILE is missing: the configuration to serve");
  return parsed.serve;
}

}  // namespace

int print(const PrintAndExit& text) {
  std::fputs(text.out.c_str(), stdout);
  std::fputs(text.error.c_str(), stderr);
  return text.exit_code;
}

std::string command_reference() {
  Parsed parsed;
  const Parser parser(parsed, "");
  return reference_page(parser.app);
}

Command parse_command_line(const std::vector<std::string>& arguments, const std::string& version) {
  Parsed parsed;
  Parser parser(parsed, version);

  // CLI11 would take what follows -- for more files.
  const auto separator = std::ranges::find(arguments, "--");
  std::vector<std::string> reversed(arguments.begin(), separator);
  std::ranges::reverse(reversed);  // as App::parse(vector) takes it
  try {
    parser.app.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    return parse_failure(parser.app, error);
  }
  if (separator != arguments.end()) {
    if (!parser.run->parsed()) return usage_error(parser.app, "only lambdo run takes arguments after --");
    parsed.run.args.assign(separator + 1, arguments.end());
  }
  const bool is_serve = parser.serve->parsed() || parser.app.get_subcommands().empty();
  if (!parsed.root_config.empty() && !is_serve) {
    return usage_error(parser.app,
                       "--config before a command is for serve; "
                       "write it after the command's name");
  }
  if (parser.run->parsed()) return parsed.run;
  if (parser.doctor->parsed()) return parsed.doctor;
  if (parser.check->parsed()) return parsed.check;
  if (parser.image->parsed()) return image_command(*parser.image, parsed.images);
  if (parser.initramfs->parsed()) return parsed.initramfs;
  if (!parser.serve->parsed() && parsed.root_config.empty())
    return usage_error(parser.app, "name a command, or --config FILE to serve");
  return serve_command(*parser.serve, parsed);
}

}  // namespace lambdo::cli
