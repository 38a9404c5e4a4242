#include "agent/shell_command.h"

#include <algorithm>
#include <array>

namespace lambdo::agent {

// POSIX shell 2.4 (reserved words), 2.14 (special built-ins) and dash(1) (its own): these are no programs, or
// other ones.
static constexpr std::array<std::string_view, 56> kNoPrograms = {
    ".",     ":",        "[",    "alias",  "bg",       "break",  "case",    "cd",    "chdir",  "command",
    "do",    "done",     "elif", "else",   "esac",     "eval",   "exec",    "exit",  "export", "false",
    "fc",    "fg",       "fi",   "for",    "getopts",  "hash",   "if",      "in",    "jobs",   "kill",
    "local", "printf",   "pwd",  "read",   "readonly", "return", "set",     "shift", "test",   "then",
    "times", "trap",     "true", "type",   "ulimit",   "umask",  "unalias", "unset", "until",  "wait",
    "while", "continue", "echo", "source", "declare",  "let"};

/// Only words, single-quoted text and "$@": nothing that could make it more than one command.
static bool is_one_simple_command(std::string_view command) {
  static constexpr std::string_view kAllArguments = "\"$@\"";
  for (size_t i = 0; i < command.size();) {
    if (command[i] == '\'') {
      const size_t end = command.find('\'', i + 1);
      if (end == std::string_view::npos) return false;
      i = end + 1;
    } else if (command.substr(i).starts_with(kAllArguments)) {
      i += kAllArguments.size();
    } else if (std::string_view(";|&<>()$`\\\"\n{}!#*?[]~").contains(command[i])) {
      return false;
    } else {
      ++i;
    }
  }
  return true;
}

std::string shell_command(std::string_view command) {
  const size_t begin = command.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return std::string(command);
  const std::string_view first = command.substr(begin, command.find_first_of(" \t", begin) - begin);
  // "NAME=value program" would look for a program of that name.
  const bool is_program = !first.contains('=') && std::ranges::find(kNoPrograms, first) == kNoPrograms.end();
  return (is_program && is_one_simple_command(command) ? "exec " : "") + std::string(command);
}

}  // namespace lambdo::agent
