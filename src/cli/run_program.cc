#include "cli/run_program.h"

#include <unistd.h>

#include <utility>

#include "base/syscalls.h"
#include "cli/command_error.h"
#include "cli/exit_codes.h"

namespace lambdo::cli {

namespace {

constexpr size_t kMaxFileBytes = 64 << 20;

/// `argument` is what named the file.
Result<std::string> read_named(const std::string& path, const char* argument) {
  auto content = sys::read_file(path, kMaxFileBytes);
  if (!content) return std::unexpected(std::move(content).error().with_context(argument));
  return content;
}

Result<std::string> read_source(const std::string& path, bool is_first) {
  auto content = sys::read_file(path, kMaxFileBytes);
  if (!content && content.error().code == Code::not_found && !is_first) {
    content.error().message += "; the program's own arguments go behind --";
  }
  return content;
}

Result<std::string> read_input(const RunOptions& options) {
  if (!options.input_path) return std::string();
  return read_named(*options.input_path == "-" ? "/dev/stdin" : *options.input_path, "--input");
}

/// The files by their names below the first one's folder; a file elsewhere goes by its last part.
std::string workspace_name(const std::string& path, const std::string& entrypoint) {
  const size_t slash = entrypoint.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : entrypoint.substr(0, slash + 1);
  if (path.starts_with(folder) && !path.substr(folder.size()).starts_with('/'))
    return path.substr(folder.size());
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Result<engine::RunRequest> read_request(const RunOptions& options) {
  engine::RunRequest request;
  request.language = options.language;
  request.version = options.version;
  request.input = TRY(read_input(options));
  request.args = options.args;
  for (const std::string& path : options.files) {
    request.code.push_back(
        {workspace_name(path, options.files.front()), TRY(read_source(path, path == options.files.front()))});
  }
  request.limits = {options.wall_ms, options.cpu_ms, options.memory_mb, options.output_bytes,
                    options.processes};
  return request;
}

Result<int> print_outcome(const RunOutcome& outcome) {
  constexpr int64_t kTimeoutStatus = 128;
  TRY(sys::write_all(STDOUT_FILENO, outcome.standard_output));
  TRY(sys::write_all(STDERR_FILENO, outcome.standard_error));
  // The word is ours and not the program's: a line of its own.
  if (outcome.status == kTimeoutStatus && outcome.standard_error == engine::kTimeoutMessage) {
    TRY(sys::write_all(STDERR_FILENO, "\n"));
  }
  return static_cast<int>(outcome.status & 0xff);
}

int run_interrupted(const reactor::Interrupt& interrupt, const char* what_happens) {
  print_error("run", std::string("interrupted; ") + what_happens);
  return interrupt.exit_code();
}

int run_exit_code(const Result<int>& exit_code) {
  if (exit_code) return *exit_code;
  print_error("run", exit_code.error().message);
  return kExitFailure;
}

}  // namespace lambdo::cli
