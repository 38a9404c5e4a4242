#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "cli/command_line.h"
#include "cli/commands.h"

namespace {

struct Execute {
  int operator()(const lambdo::cli::PrintAndExit& text) const {
    std::fputs(text.out.c_str(), stdout);
    std::fputs(text.error.c_str(), stderr);
    return text.exit_code;
  }
  int operator()(const lambdo::cli::ServeOptions& options) const { return lambdo::cli::serve(options); }
  int operator()(const lambdo::cli::RunOptions& options) const { return lambdo::cli::run(options); }
  int operator()(const lambdo::cli::DoctorOptions& options) const { return lambdo::cli::doctor(options); }
  int operator()(const lambdo::cli::ImageOptions& options) const {
    return lambdo::cli::image_command(options);
  }
  int operator()(const lambdo::cli::InitramfsOptions& options) const {
    return lambdo::cli::initramfs_command(options);
  }
  int operator()(const lambdo::cli::ConfigCheckOptions& options) const {
    return lambdo::cli::config_check(options);
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  return std::visit(Execute{}, lambdo::cli::parse_command_line(arguments, LAMBDO_VERSION));
}
