#pragma once

#include <string>
#include <string_view>

namespace lambdo::agent {

/// What to give `/bin/sh -c` for a step's command. A command that is one program with its arguments gets
/// `exec` in front, so that the program takes the shell's place: its signal is then seen as one and not as
/// the shell's exit code, and a fork is saved. Any other command stays as it is. (dash forks for the last
/// command too.)
std::string shell_command(std::string_view command);

}  // namespace lambdo::agent
