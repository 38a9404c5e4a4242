#pragma once

#include <string>
#include <variant>
#include <vector>

#include "cli/commands.h"
#include "cli/image_command.h"

namespace lambdo::cli {

/// Nothing to run: help, the version, or a usage error is printed.
struct PrintAndExit {
  int exit_code = kExitOk;
  std::string out;    ///< for standard output
  std::string error;  ///< for standard error
};

/// Does that; gives the exit code.
int print(const PrintAndExit& text);

using Command = std::variant<PrintAndExit, ServeOptions, RunOptions, DoctorOptions, ConfigCheckOptions,
                             ImageOptions, InitramfsOptions>;

/// `arguments` without the program's name; `version` is what --version prints.
Command parse_command_line(const std::vector<std::string>& arguments, const std::string& version);

}  // namespace lambdo::cli
