#pragma once

#include <string>
#include <string_view>

namespace lambdo::cli {

/// How all commands tell what went wrong: each line of `message` on standard error as "lambdo COMMAND: LINE",
/// as terminal_text() shows it, and then what to do about it where `remedy` says so.
void print_error(std::string_view command, std::string_view message, std::string_view remedy = {});

/// The text that print_error() writes.
std::string error_text(std::string_view command, std::string_view message, std::string_view remedy);

}  // namespace lambdo::cli
