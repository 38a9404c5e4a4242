#pragma once

#include <span>
#include <string>

#include "base/error.h"

namespace lambdo::agent {

struct Options {
  int fd = -1;  ///< one end of a connected AF_UNIX stream socketpair
  std::string workspace =
      "/workspace";  ///< an existing folder: files are written below it, steps start in it
  bool help = false;
};

/// Parses the arguments after the program's name. invalid_argument names the flag.
Result<Options> parse_options(std::span<char* const> arguments);

/// The text of --help.
extern const char* const kUsage;

}  // namespace lambdo::agent
