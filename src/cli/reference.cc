#include "cli/reference.h"

#include <string_view>
#include <vector>

#include "cli/usage.h"

namespace lambdo::cli {

namespace {

/// A cell of a table: a bar would end it.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char byte : text) escaped += byte == '|' ? std::string("\\|") : std::string(1, byte);
  return escaped;
}

std::string option_name(const CLI::Option& option, const HelpFormatter& formatter) {
  if (option.get_positional()) return option.get_name();
  return option.get_name(false, true) + formatter.make_option_opts(&option);
}

void append_options(const CLI::App& app, const HelpFormatter& formatter, std::string& page) {
  std::string rows;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_name() == "--help") continue;  // every verb has it
    rows += "| `" + cell(option_name(*option, formatter)) + "` | " +
            cell(formatter.make_option_desc(option)) + " |\n";
  }
  if (!rows.empty()) page += "\n| option | meaning |\n|---|---|\n" + rows;
}

/// The verb's synopsis: its path, its options in short, what stands without a name, its verbs.
std::string synopsis(const CLI::App& app) {
  std::string text = command_path(app) + " [OPTION]...";
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = option->get_name() + (option->get_expected_max() > 1 ? "..." : "");
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  return app.get_subcommands({}).empty() ? text : text + " VERB";
}

void append_verb(const CLI::App& app, const HelpFormatter& formatter, std::string& page) {
  page +=
      "\n## " + command_path(app) + "\n\n" + app.get_description() + ".\n\n```\n" + synopsis(app) + "\n```\n";
  append_options(app, formatter, page);
  page += "\n```text\n" + app.get_footer() + "\n```\n";
  for (const CLI::App* verb : app.get_subcommands({})) append_verb(*verb, formatter, page);
}

}  // namespace

std::string reference_page(const CLI::App& root) {
  const HelpFormatter formatter;
  std::string page =
      "# The command line\n\nEvery verb explains itself: `lambdo --help`, `lambdo VERB --help`. This page is "
      "made from the same declarations (`./dev docs`).\n\n" +
      root.get_description() + "\n";
  append_options(root, formatter, page);
  page += "\n```text\n" + root.get_footer() + "\n```\n";
  for (const CLI::App* verb : root.get_subcommands({})) append_verb(*verb, formatter, page);
  return page;
}

}  // namespace lambdo::cli
