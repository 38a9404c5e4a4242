#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "api/run_answer.h"
#include "base/check.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "cli/exit_codes.h"
#include "cli/run.h"
#include "cli/run_program.h"
#include "config/config.h"
#include "reactor/interrupt.h"
#include "server/runtime.h"

namespace lambdo::cli {

namespace {

using reactor::Task;

class TemporaryFolder {
 public:
  static Result<TemporaryFolder> create() {
    std::string path = std::filesystem::temp_directory_path() / "lambdo-run-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fail_errno("mkdtemp " + path);
    return TemporaryFolder(std::move(path));
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Task<Result<engine::RunReport>> run_once(reactor::Reactor& reactor, server::Runtime& runtime,
                                         engine::RunRequest request, reactor::Interrupt& interrupt) {
  interrupt.start(reactor);
  Result<> started = co_await runtime.start();
  if (started) started = co_await runtime.language_ready(0, interrupt.token());
  Result<engine::RunReport> report = fail(Code::internal, "not started");
  if (started) {
    report = co_await runtime.runner().run(std::move(request), interrupt.token());
  } else {
    report = std::unexpected(std::move(started).error());
  }
  co_await runtime.stop();
  co_await interrupt.stop();
  co_return report;
}

Result<int> run_here(const RunOptions& options) {
  config::Config config = TRY(config::load_config(options.config_path));
  log::configure(log::Level::error, config.log.format);
  auto request = TRY(read_request(options));
  const size_t wanted = TRY(engine::find_language(config.languages, request));
  // One guest for one run, of the one language, beside a server that may use the configured state directory.
  config.languages = {config.languages[wanted]};
  config.languages.front().warm = 0;
  config.images.store = config.store_folder();
  std::optional<TemporaryFolder> state = TRY(TemporaryFolder::create());
  config.state_dir = state->path();
  reactor::Interrupt interrupt = TRY(reactor::Interrupt::create());
  auto started = server::start_helpers(config, interrupt.fd());
  if (!started && started.error().code == Code::cancelled) return kExitInterrupted;
  server::StartedHelpers helpers = TRY(std::move(started));
  state.reset();  // its lock is held by a descriptor; whatever ends us now
                  // leaves no folder
  auto reactor = TRY(reactor::Reactor::create());
  server::Runtime runtime(*reactor, config, std::move(helpers));
  auto reported = reactor->run(run_once(*reactor, runtime, std::move(request), interrupt));
  if (!reported && interrupt.signal()) return run_interrupted(interrupt, "the program was ended");
  engine::RunReport report = TRY(std::move(reported));
  if (options.json) {
    api::RunAnswer answer(std::move(report), api::OutputEncoding::utf8);
    TRY(sys::write_all(STDOUT_FILENO, answer.text() + "\n"));
    return kExitOk;
  }
  RunOutcome outcome{.status = report.status};
  for (const engine::StepReport& step : report.steps) {
    outcome.standard_output += step.standard_output;
    outcome.standard_error += step.standard_error;
  }
  if (report.timed_out) outcome.standard_error = engine::kTimeoutMessage;
  return print_outcome(outcome);
}

}  // namespace

int run_local(const RunOptions& options) {
  CHECK(options.local);
  ::signal(SIGPIPE, SIG_IGN);
  return run_exit_code(run_here(options));
}

}  // namespace lambdo::cli
