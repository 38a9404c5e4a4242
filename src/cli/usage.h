#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/command_line.h"

/// One style for what the command line says to people: help and wrong usage.
namespace lambdo::cli {

/// "lambdo image pull", of the subcommand that is told.
std::string command_path(const CLI::App& app);

/// "lambdo image pull: MESSAGE" and where its help is; exit code 2.
PrintAndExit usage_error(const CLI::App& app, const std::string& message);

/// Help or the version where these were asked for, else the usage error that parsing ended with, of the
/// innermost command that the arguments had named by then. `root` has been parsed.
PrintAndExit parse_failure(const CLI::App& root, const CLI::ParseError& error);

/// Requirements, defaults and what excludes each other in words behind an option's description.
class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option_desc(const CLI::Option* option) const override;
};

/// Accepts decimal numbers from `low` to `high`; says so of others.
CLI::Validator whole_number(uint64_t low, uint64_t high);
/// Accepts these words; lists them where it is given another one.
CLI::Validator one_of(std::vector<std::string> words);

}  // namespace lambdo::cli
