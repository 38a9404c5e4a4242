#include "cli/run.h"
#include "cli/usage.h"
#include "config/languages.h"

namespace lambdo::cli {

namespace {

constexpr const char* kRunExamples =
    R"(The exit code is that of the program; 1 also where it could not be run, 2 for wrong usage.

Examples:
  lambdo run -l python main.py helper.py      main.py is started, helper.py lies beside it
  echo 1 2 | lambdo run -l python -i - sum.py the program reads standard input
  lambdo run -l bash hello.sh -- one two      what follows -- are the program's arguments
  lambdo run --local --config lambdo.yaml -l python main.py)";

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

}  // namespace

CLI::App* add_run(CLI::App& app, RunOptions& options) {
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

}  // namespace lambdo::cli
