#pragma once

#include <optional>
#include <string>
#include <vector>

namespace lambdo::agent {

/// The program that `/bin/sh -c` would only be the start of: most steps are one program with its arguments,
/// and executing it at once saves the shell's own start, a quarter of a small run. What the shell would do
/// beyond that, or say where there is no such program, is left to the shell.
class DirectProgram {
 public:
  /// `shell_arguments` as for execve(2): "/bin/sh", "-c", a command as shell_command() gives it, "$0",
  /// "$@"... nullopt where the command is no `exec` of words, quoted text and "$@", or where no file of that
  /// name can be executed: looked for as POSIX shell 2.9.1.1 says, on the environment's PATH. `environment`
  /// is of NAME=value and ends with a null pointer.
  static std::optional<DirectProgram> find(const std::vector<char*>& shell_arguments,
                                           const std::vector<char*>& environment);

  [[nodiscard]] const char* path() const { return path_.c_str(); }
  /// For execve(2); lives as long as this object stays where it is.
  [[nodiscard]] char* const* arguments();
  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }

 private:
  std::string path_;
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

}  // namespace lambdo::agent
