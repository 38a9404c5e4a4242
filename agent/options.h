#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/address.h"
#include "agent/spawn.h"
#include "base/error.h"

namespace lambdo::agent {

struct Options {
  int fd = -1;  ///< one end of a connected AF_UNIX stream socketpair; -1: none given
  /// Files are written below it, steps start in it. A folder, which a machine's init makes and mounts.
  std::string workspace = "/workspace";
  bool help = false;

  // Of a machine's init only.
  Address register_at = {.port = 50051};  ///< the host's LambdoApiService
  Address listen_at = {.port = 50051};    ///< where we serve LambdoAgentService
  std::string token;  ///< sent when registering; empty: the end of our folder's name, behind its last '-'
  std::string hostname = "lambdo";
  uint64_t disk_mb = 64;                 ///< of the workspace and of each temporary folder
  StepUser user;                         ///< of the steps
  std::string hand_over;                 ///< the image's own init, to become instead of serving; empty: none
  std::string ip;                        ///< then, instead of what the kernel's command line says
  std::vector<std::string> environment;  ///< NAME=value, of the steps
};

/// Parses the arguments after the program's name. invalid_argument names the flag.
Result<Options> parse_options(std::span<char* const> arguments);

/// Parses the same flags, written one argument a line: what a machine's init is given. Empty lines are
/// skipped.
Result<Options> parse_options_file(std::string_view text);

/// The text of --help.
extern const char* const kUsage;

}  // namespace lambdo::agent
