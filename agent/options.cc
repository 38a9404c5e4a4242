#include "agent/options.h"

#include <climits>
#include <string_view>

#include "base/text.h"

namespace lambdo::agent {

const char* const kUsage =
    "Usage: lambdo-agent --fd N [--workspace DIR]\n"
    "\n"
    "Runs inside a Lambdo guest: writes a run's files, runs its steps and reports what they did.\n"
    "\n"
    "  --fd N           serve LambdoAgentService (gRPC) on descriptor N, a connected Unix stream socket\n"
    "  --workspace DIR  where files are written and steps start (default /workspace)\n"
    "  --help           print this text\n";

Result<Options> parse_options(std::span<char* const> arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const size_t equals = argument.find('=');
    const std::string_view flag = argument.substr(0, equals);
    if (flag == "--help" || flag == "-h") {
      options.help = true;
      return options;
    }
    if (flag != "--fd" && flag != "--workspace") {
      return fail(Code::invalid_argument, "unknown argument " + std::string(argument) + "; see --help");
    }
    std::string_view value;
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    }
    if (value.empty()) return fail(Code::invalid_argument, std::string(flag) + " needs a value; see --help");
    if (flag == "--workspace") {
      options.workspace = value;
      continue;
    }
    const auto number = parse_uint(value);
    if (!number || *number < 3 || *number > INT_MAX) {
      return fail(Code::invalid_argument, "--fd must be a descriptor from 3 on, not " + std::string(value));
    }
    options.fd = static_cast<int>(*number);
  }
  if (options.fd < 0) return fail(Code::invalid_argument, "--fd is missing; see --help");
  return options;
}

}  // namespace lambdo::agent
