#include "cli/command_line.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::cli {

static Command parse(const std::vector<std::string>& arguments) {
  return parse_command_line(arguments, "1.2.3");
}

TEST_CASE("--config FILE serves, as serve --config FILE does") {
  const auto old_way = std::get<ServeOptions>(parse({"--config", "a.yaml"}));
  CHECK_EQ(old_way.config_path, "a.yaml");
  CHECK_FALSE(old_way.port.has_value());
  CHECK_FALSE(old_way.state_dir.has_value());
  CHECK_FALSE(old_way.log_level.has_value());
  CHECK(old_way.languages.empty());
  const auto options =
      std::get<ServeOptions>(parse({"serve", "-c", "b.yaml", "--port", "0", "--language", "python", "-l",
                                    "bash", "--state-dir", "/s", "--log-level", "debug"}));
  CHECK_EQ(options.config_path, "b.yaml");
  CHECK_EQ(options.port, 0);
  CHECK(options.languages == std::vector<std::string>{"python", "bash"});
  CHECK_EQ(options.state_dir, "/s");
  CHECK_EQ(options.log_level, log::Level::debug);
  CHECK_EQ(std::get<ServeOptions>(parse({"--config", "a.yaml", "serve", "--port", "1"})).config_path,
           "a.yaml");
}

TEST_CASE("run takes files, and what follows -- is the program's, even where it looks like options") {
  const auto options = std::get<RunOptions>(parse({"run", "-l", "python", "main.py", "-i", "-", "lib.py",
                                                   "--json", "--wall-ms", "5", "--", "-l", "--", "x"}));
  CHECK_EQ(options.server, "http://127.0.0.1:3000");
  CHECK_EQ(options.language, "python");
  CHECK_EQ(options.version, "");
  CHECK(options.files == std::vector<std::string>{"main.py", "lib.py"});
  CHECK(options.args == std::vector<std::string>{"-l", "--", "x"});
  CHECK_EQ(options.input_path, "-");
  CHECK(options.json);
  CHECK_EQ(options.wall_ms, 5);
  CHECK_FALSE(options.cpu_ms.has_value());
  const auto local = std::get<RunOptions>(
      parse({"run", "--local", "--config", "c", "-l", "b", "--language-version", "5", "f", "--cpu-ms", "1",
             "--memory-mb", "2", "--output-bytes", "3", "--processes", "4"}));
  CHECK(local.local);
  CHECK_EQ(local.config_path, "c");
  CHECK_EQ(local.version, "5");
  CHECK_EQ(local.cpu_ms, 1);
  CHECK_EQ(local.memory_mb, 2);
  CHECK_EQ(local.output_bytes, 3);
  CHECK_EQ(local.processes, 4);
}

TEST_CASE("doctor and config check") {
  CHECK_FALSE(std::get<DoctorOptions>(parse({"doctor"})).json);
  CHECK(std::get<DoctorOptions>(parse({"doctor", "--json"})).json);
  CHECK_EQ(std::get<ConfigCheckOptions>(parse({"config", "check", "a.yaml"})).path, "a.yaml");
  CHECK(std::get<ConfigCheckOptions>(parse({"config", "check", "--agent", "a.yaml"})).agent);
}

TEST_CASE("help is everywhere, with examples, and goes to standard output") {
  const std::vector<std::vector<std::string>> commands = {{},         {"serve"},  {"run"},
                                                          {"doctor"}, {"config"}, {"config", "check"}};
  for (std::vector<std::string> arguments : commands) {
    CAPTURE(arguments.size());
    arguments.emplace_back("--help");
    const auto help = std::get<PrintAndExit>(parse(arguments));
    CHECK_EQ(help.exit_code, kExitOk);
    CHECK(help.out.contains("Examples:"));
    CHECK(help.error.empty());
    for (const char* raw : {"REQUIRED", "Excludes:", "Needs:", "POSITIVE", ":{"}) {
      CHECK_FALSE_MESSAGE(help.out.contains(raw), help.out);
    }
  }
  const auto version = std::get<PrintAndExit>(parse({"--version"}));
  CHECK_EQ(version.exit_code, kExitOk);
  CHECK_EQ(version.out, "lambdo 1.2.3\n");
}

TEST_CASE("wrong usage exits with 2 and names what is wrong on standard error") {
  struct Row {
    std::vector<std::string> arguments;
    std::string part;
  };
  const std::vector<Row> rows = {
      {{}, "lambdo: name a command"},
      {{"serve"}, "lambdo serve: --config FILE"},
      {{"fly"}, "lambdo: there is no command \"fly\"; there are serve, run, doctor"},
      {{"srve"}, "did you mean serve?"},
      {{"--prot", "1"}, "lambdo: there is no option --prot"},
      {{"serve", "--prot=1"}, "lambdo serve: there is no option --prot; did you mean --port?"},
      {{"serve", "--config"}, "lambdo serve: --config needs a value: FILE"},
      {{"serve", "--config", "a", "--config", "b"}, "--config is given more than once"},
      {{"serve", "--config", "a", "--port", "65536"},
       "--port: \"65536\" is not allowed; write a whole number from 0 to 65535"},
      {{"serve", "--config", "a", "--log-level", "loud"},
       "\"loud\" is not allowed; write one of debug, info"},
      {{"serve", "--config", "a", "--", "x"}, "after --"},
      {{"run", "main.py"}, "lambdo run: --language NAME is missing"},
      {{"run", "-l", "python"}, "lambdo run: FILE is missing: Source files"},
      {{"run", "-l", "python", "--local", "f"}, "--local needs --config"},
      {{"run", "-l", "python", "--config", "c", "f"}, "--config needs --local"},
      {{"run", "-l", "python", "--local", "--config", "c", "--server", "u", "f"},
       "--server cannot be given with --local"},
      {{"run", "-l", "python", "--wall-ms", "0", "f"},
       "--wall-ms: \"0\" is not allowed; write a whole number from 1 to 86400000\n"},
      {{"run", "-l", "python", "--wall-ms", "-5", "f"}, "\"-5\" is not allowed"},
      {{"run", "-l", "python", "--cpu-ms", "1.5", "f"}, "--cpu-ms: \"1.5\""},
      {{"run", "-l", "python", "--memory-mb", "99999999999999999999", "f"}, "from 1 to 1048576"},
      {{"run", "-l", "python", "--output-bytes", "1k", "f"}, "from 1 to 16777216"},
      {{"run", "-l", "python", "--processes", "", "f"}, "from 1 to 65536"},
      {{"config"}, "lambdo config: name a command: check"},
      {{"config", "check"}, "lambdo config check: FILE is missing"},
      {{"config", "chekc"}, "lambdo config: there is no command \"chekc\"; did you mean check?"},
      {{"--config", "a", "doctor"}, "lambdo: --config before a command"},
      {{"serve", "doctor"}, "lambdo serve: unexpected argument \"doctor\""},
      {{"doctor", "\x1b[2J"}, "unexpected argument \"\\x1b[2J\""},
  };
  for (const Row& row : rows) {
    CAPTURE(row.part);
    const Command command = parse(row.arguments);
    REQUIRE(std::holds_alternative<PrintAndExit>(command));
    const auto& text = std::get<PrintAndExit>(command);
    CHECK_EQ(text.exit_code, kExitUsage);
    CHECK(text.out.empty());
    CHECK_MESSAGE(text.error.contains(row.part), text.error);
    // What is wrong on one line, and where the help is on the next.
    CHECK_MESSAGE(std::ranges::count(text.error, '\n') == 2, text.error);
    CHECK_MESSAGE(text.error.ends_with(" --help says how it is used\n"), text.error);
  }
}

TEST_CASE("the page about the command line says what the parser knows") {
  const auto page = sys::read_file(LAMBDO_SOURCE_ROOT "/docs/cli.md");
  REQUIRE(page);
  CHECK_MESSAGE(*page == command_reference(), "docs/cli.md is not what the parser knows; run ./dev docs");
}

}  // namespace lambdo::cli
