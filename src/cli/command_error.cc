#include "cli/command_error.h"

#include <algorithm>
#include <cstdio>

#include "cli/terminal_text.h"

namespace lambdo::cli {

std::string error_text(std::string_view command, std::string_view message, std::string_view remedy) {
  std::string text;
  for (size_t at = 0; at <= message.size();) {
    const size_t end = std::min(message.find('\n', at), message.size());
    text.append("lambdo ").append(command).append(": ");
    text.append(terminal_text(message.substr(at, end - at))).append("\n");
    at = end + 1;
  }
  if (!remedy.empty()) text.append("  -> ").append(remedy).append("\n");
  return text;
}

void print_error(std::string_view command, std::string_view message, std::string_view remedy) {
  std::fputs(error_text(command, message, remedy).c_str(), stderr);
}

}  // namespace lambdo::cli
