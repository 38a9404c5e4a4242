#include "agent/direct_program.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

namespace lambdo::agent {

namespace {

constexpr std::string_view kExec = "exec ";
constexpr std::string_view kAllArguments = "\"$@\"";
constexpr std::string_view kBlanks = " \t";
constexpr size_t kCommandIndex = 2;
constexpr size_t kFirstArgumentIndex = 4;

/// The word that begins at `at`, which moves behind it: plain text and single-quoted parts. nullopt for
/// anything else, "$@" among it.
std::optional<std::string> take_word(std::string_view command, size_t& at) {
  std::string word;
  while (at < command.size() && !kBlanks.contains(command[at])) {
    if (command[at] == '"') return std::nullopt;
    if (command[at] != '\'') {
      word += command[at++];
      continue;
    }
    const size_t end = command.find('\'', at + 1);
    if (end == std::string_view::npos) return std::nullopt;
    word += command.substr(at + 1, end - at - 1);
    at = end + 1;
  }
  return word;
}

/// The words that the shell would make of it. shell_command() has seen to it that nothing else is special.
std::optional<std::vector<std::string>> split(std::string_view command, const std::vector<char*>& arguments) {
  std::vector<std::string> words;
  for (size_t at = command.find_first_not_of(kBlanks); at < command.size();
       at = command.find_first_not_of(kBlanks, at)) {
    if (!command.substr(at).starts_with(kAllArguments)) {
      auto word = take_word(command, at);
      if (!word) return std::nullopt;
      words.push_back(*std::move(word));
      continue;
    }
    at += kAllArguments.size();
    // Beside other text, "$@" joins it with the first and last argument.
    if (at < command.size() && !kBlanks.contains(command[at])) return std::nullopt;
    for (size_t i = kFirstArgumentIndex; i < arguments.size() && arguments[i] != nullptr; ++i) {
      words.emplace_back(arguments[i]);
    }
  }
  return words;
}

bool can_be_executed(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string_view path_of(const std::vector<char*>& environment) {
  constexpr std::string_view kPath = "PATH=";
  for (const char* variable : environment) {
    if (variable != nullptr && std::string_view(variable).starts_with(kPath)) return variable + kPath.size();
  }
  return {};
}

/// Empty where there is none.
std::string find_file(const std::string& name, const std::vector<char*>& environment) {
  if (name.empty()) return {};
  if (name.contains('/')) return can_be_executed(name) ? name : std::string();
  std::string_view folders = path_of(environment);
  while (!folders.empty()) {
    const size_t colon = std::min(folders.find(':'), folders.size());
    // An empty folder is the current one.
    std::string path(folders.substr(0, colon));
    path += path.empty() ? "./" + name : "/" + name;
    if (can_be_executed(path)) return path;
    folders.remove_prefix(std::min(colon + 1, folders.size()));
  }
  return {};
}

}  // namespace

std::optional<DirectProgram> DirectProgram::find(const std::vector<char*>& shell_arguments,
                                                 const std::vector<char*>& environment) {
  if (shell_arguments.size() <= kCommandIndex || shell_arguments[kCommandIndex] == nullptr)
    return std::nullopt;
  const std::string_view command = shell_arguments[kCommandIndex];
  if (!command.starts_with(kExec)) return std::nullopt;
  auto words = split(command.substr(kExec.size()), shell_arguments);
  if (!words || words->empty()) return std::nullopt;
  DirectProgram program;
  program.path_ = find_file(words->front(), environment);
  if (program.path_.empty()) return std::nullopt;
  program.words_ = *std::move(words);
  return program;
}

char* const* DirectProgram::arguments() {
  pointers_.clear();
  for (std::string& word : words_) pointers_.push_back(word.data());
  pointers_.push_back(nullptr);
  return pointers_.data();
}

}  // namespace lambdo::agent
