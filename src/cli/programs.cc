#include "cli/programs.h"

#include <unistd.h>

#include <cerrno>
#include <climits>

#include "base/syscalls.h"

namespace lambdo::cli {

Result<std::string> program_folder() {
  char path[PATH_MAX];
  const ssize_t len_bytes = ::readlink("/proc/self/exe", path, sizeof path);
  if (len_bytes < 0) return fail_errno("readlink /proc/self/exe");
  const std::string program(path, static_cast<size_t>(len_bytes));
  return program.substr(0, program.rfind('/'));
}

Result<std::string> find_agent(const std::string& configured) {
  if (!configured.empty()) {
    if (::access(configured.c_str(), R_OK) == 0) return configured;
    return std::unexpected(errno_error(errno, "agent.path: " + configured).with_code(Code::unavailable));
  }
  // Beside this program when installed, and elsewhere in a build.
  const std::string folder = TRY(program_folder());
  for (const std::string& candidate : {folder + "/lambdo-agent", folder + "/../../agent/lambdo-agent"}) {
    if (sys::exists(candidate)) return candidate;
  }
  return fail(Code::unavailable,
              "no lambdo-agent in " + folder +
                  "; put the one of the same build there, or set agent.path in the configuration");
}

}  // namespace lambdo::cli
