#pragma once

#include <string>
#include <variant>
#include <vector>

#include "cli/config_check.h"
#include "cli/doctor.h"
#include "cli/exit_codes.h"
#include "cli/image/image.h"
#include "cli/initramfs.h"
#include "cli/run.h"
#include "cli/serve.h"

/// The command line of both programs: all verbs put together.
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

/// All verbs with their options and examples as a page of Markdown, made from what the parser knows:
/// docs/cli.md.
std::string command_reference();

}  // namespace lambdo::cli
