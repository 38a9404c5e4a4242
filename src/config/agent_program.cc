#include "config/agent_program.h"

#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/program_folder.h"
#include "base/syscalls.h"

namespace lambdo::config {

Result<std::string> find_agent(const std::string& configured) {
  if (!configured.empty()) {
    if (::access(configured.c_str(), R_OK) == 0) return configured;
    return std::unexpected(errno_error(errno, "agent.path: " + configured).with_code(Code::unavailable));
  }
  // Beside this program when installed, and elsewhere in a build.
  const std::string folder = TRY(sys::program_folder());
  for (const std::string& candidate : {folder + "/lambdo-agent", folder + "/../../agent/lambdo-agent"}) {
    if (sys::exists(candidate)) return candidate;
  }
  return fail(Code::unavailable,
              "no lambdo-agent in " + folder +
                  "; put the one of the same build there, or set agent.path in the configuration");
}

}  // namespace lambdo::config
