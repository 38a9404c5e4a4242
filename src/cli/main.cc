// lambdo: the commands that need no engine. Those that do belong to lambdo-server, which takes this one's
// place, so that a client or a pull has neither gRPC nor the guests' network in its memory.
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "base/program_folder.h"
#include "cli/command_error.h"
#include "cli/command_line.h"

namespace {

/// Goes on as lambdo-server, which lies beside this program, with the same arguments. Comes back only where
/// it cannot be started.
int become_server(const char* command, char** argv) {
  const auto folder = lambdo::sys::program_folder();
  if (!folder) {
    lambdo::cli::print_error(command, "cannot find lambdo-server: " + folder.error().message);
    return lambdo::cli::kExitFailure;
  }
  const std::string server = *folder + "/lambdo-server";
  ::execv(server.c_str(), argv);
  const int reason = errno;
  lambdo::cli::print_error(
      command, "cannot start " + server + ": " + std::generic_category().message(reason),
      reason == ENOENT ? "put it and lambdo-agent beside lambdo: the three come from one build" : "");
  return lambdo::cli::kExitFailure;
}

struct Execute {
  char** argv;

  int operator()(const lambdo::cli::PrintAndExit& text) const { return lambdo::cli::print(text); }
  int operator()(const lambdo::cli::ServeOptions& /*options*/) const { return become_server("serve", argv); }
  int operator()(const lambdo::cli::RunOptions& options) const {
    return options.local ? become_server("run", argv) : lambdo::cli::run(options);
  }
  int operator()(const lambdo::cli::DoctorOptions& /*options*/) const {
    return become_server("doctor", argv);
  }
  int operator()(const lambdo::cli::ImageOptions& options) const { return lambdo::cli::run_image(options); }
  int operator()(const lambdo::cli::InitramfsOptions& options) const {
    return lambdo::cli::initramfs(options);
  }
  int operator()(const lambdo::cli::ConfigCheckOptions& options) const {
    return lambdo::cli::config_check(options);
  }
};

}  // namespace

int main(int argc, char** argv) {
  // A heap for each thread that unpacks would keep what that thread once needed.
  ::mallopt(M_ARENA_MAX, 2);
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return std::visit(Execute{argv}, lambdo::cli::parse_command_line(arguments, LAMBDO_VERSION));
}
