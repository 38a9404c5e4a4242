// lambdo-server: the commands that start guests or look at what they need. People type lambdo, which becomes
// this one.
#include <string>
#include <variant>
#include <vector>

#include "cli/command_error.h"
#include "cli/command_line.h"

namespace {

struct Execute {
  int operator()(const lambdo::cli::PrintAndExit& text) const { return lambdo::cli::print(text); }
  int operator()(const lambdo::cli::ServeOptions& options) const { return lambdo::cli::serve(options); }
  int operator()(const lambdo::cli::RunOptions& options) const {
    return options.local ? lambdo::cli::run_local(options) : other("run");
  }
  int operator()(const lambdo::cli::DoctorOptions& options) const { return lambdo::cli::doctor(options); }
  int operator()(const lambdo::cli::ImageOptions& /*options*/) const { return other("image"); }
  int operator()(const lambdo::cli::InitramfsOptions& /*options*/) const { return other("initramfs"); }
  int operator()(const lambdo::cli::ConfigCheckOptions& /*options*/) const { return other("config check"); }

 private:
  static int other(const char* command) {
    lambdo::cli::print_error(command, "lambdo-server does not have this command", "run lambdo instead");
    return lambdo::cli::kExitUsage;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return std::visit(Execute{}, lambdo::cli::parse_command_line(arguments, LAMBDO_VERSION));
}
