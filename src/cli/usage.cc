#include "cli/usage.h"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "cli/terminal_text.h"
#include "config/diagnostics.h"

namespace lambdo::cli {

namespace {

constexpr size_t kHelpColumn = 32;

const CLI::App& innermost(const CLI::App& app) {
  const auto named = app.get_subcommands();
  return named.empty() ? app : innermost(*named.front());
}

std::string quoted_argument(const std::string& text) {
  return "\"" + terminal_text(text) + "\"";
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::string suggestion(std::string_view text, const std::vector<std::string>& known) {
  const std::vector<std::string_view> candidates(known.begin(), known.end());
  const std::string_view near = config::nearest(text, candidates);
  return near.empty() ? "" : "; did you mean " + std::string(near) + "?";
}

std::string unknown_option(const CLI::App& app, const std::string& argument) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  }
  const std::string name = argument.substr(0, argument.find('='));
  return "there is no option " + terminal_text(name) + suggestion(name, known);
}

std::string unknown_command(const CLI::App& app, const std::string& name) {
  const std::vector<std::string> known = command_names(app);
  const std::string near = suggestion(name, known);
  return "there is no command " + quoted_argument(name) +
         (near.empty() ? "; there are " + joined(known, ", ") : near);
}

/// What was left over when all else had been understood.
std::string unexpected(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining();
  if (left.empty())
    return app.get_parent() == nullptr ? "unexpected arguments" : unexpected(*app.get_parent());
  const auto option = std::ranges::find_if(left, [](const auto& text) { return text.starts_with('-'); });
  if (option != left.end()) return unknown_option(app, *option);
  if (!command_names(app).empty()) return unknown_command(app, left.front());
  return "unexpected argument " + quoted_argument(left.front());
}

const CLI::Option* find_option(const CLI::App& app, const std::string& name) {
  const auto options = app.get_options();
  const auto found = std::ranges::find_if(options, [&](const auto* one) { return one->get_name() == name; });
  return found == options.end() ? nullptr : *found;
}

std::string missing(const CLI::App& app, const std::string& message) {
  const std::string name = message.substr(0, message.find(' '));
  const CLI::Option* option = find_option(app, name);
  if (option == nullptr) {  // CLI11 means a subcommand
    return app.remaining().empty() ? "name a command: " + joined(command_names(app), ", ") : unexpected(app);
  }
  const std::string value = option->get_positional() ? "" : " " + option->get_type_name();
  return name + value + " is missing: " + option->get_description();
}

std::string replaced(std::string text, std::string_view words, std::string_view with) {
  const size_t at = text.find(words);
  return at == std::string::npos ? text : text.replace(at, words.size(), with);
}

/// A value that is missing, or one too many.
std::string mismatch(const CLI::App& app, const std::string& message) {
  const std::string name = message.substr(0, message.find(':'));
  const CLI::Option* option = find_option(app, name);
  if (option == nullptr || option->get_type_size() == 0) return terminal_text(message);
  return option->results().empty() ? name + " needs a value: " + option->get_type_name()
                                   : name + " is given more than once";
}

/// CLI11 has words for each kind of error; most are better said otherwise.
std::string words_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::string message = error.what();
  switch (static_cast<CLI::ExitCodes>(error.get_exit_code())) {
    case CLI::ExitCodes::ExtrasError:
      return unexpected(app);
    case CLI::ExitCodes::RequiredError:
      return missing(app, message);
    case CLI::ExitCodes::RequiresError:
      return replaced(message, " requires ", " needs ");
    case CLI::ExitCodes::ExcludesError:
      return replaced(message, " excludes ", " cannot be given with ");
    case CLI::ExitCodes::ArgumentMismatch:
      return mismatch(app, message);
    default:
      return terminal_text(message);
  }
}

}  // namespace

std::string command_path(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : command_path(*parent) + " " + app.get_name();
}

PrintAndExit usage_error(const CLI::App& app, const std::string& message) {
  const std::string command = command_path(app);
  return {kExitUsage, "", command + ": " + message + "\n  -> " + command + " --help says how it is used\n"};
}

PrintAndExit parse_failure(const CLI::App& root, const CLI::ParseError& error) {
  if (error.get_exit_code() != 0) {
    const CLI::App& app = innermost(root);
    return usage_error(app, words_of(app, error));
  }
  std::ostringstream out;
  std::ostringstream unused;
  root.exit(error, out, unused);
  return {kExitOk, out.str(), ""};
}

HelpFormatter::HelpFormatter() {
  column_width(kHelpColumn);
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  const std::string type = option->get_positional() ? "" : option->get_type_name();
  return type.empty() ? "" : " " + type;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  std::vector<std::string> notes;
  if (option->get_required()) notes.emplace_back("required");
  if (!option->get_default_str().empty()) notes.push_back("default: " + option->get_default_str());
  for (const CLI::Option* other : option->get_needs()) notes.push_back("needs " + other->get_name());
  for (const CLI::Option* other : option->get_excludes()) notes.push_back("not with " + other->get_name());
  const std::string& description = option->get_description();
  return notes.empty() ? description : description + " (" + joined(notes, ", ") + ")";
}

CLI::Validator whole_number(uint64_t low, uint64_t high) {
  const auto check = [low, high](const std::string& text) -> std::string {
    const auto number = parse_uint(text);
    if (number && *number >= low && *number <= high) return "";
    return quoted_argument(text) + " is not allowed; write a whole number from " + std::to_string(low) +
           " to " + std::to_string(high);
  };
  return {check, "", ""};
}

CLI::Validator one_of(std::vector<std::string> words) {
  const auto check = [words = std::move(words)](const std::string& text) -> std::string {
    if (std::ranges::find(words, text) != words.end()) return "";
    return quoted_argument(text) + " is not allowed; write one of " + joined(words, ", ");
  };
  return {check, "", ""};
}

}  // namespace lambdo::cli
