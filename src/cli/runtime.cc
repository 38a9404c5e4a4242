#include "cli/runtime.h"

#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <thread>
#include <utility>

#include "base/syscalls.h"
#include "engine/namespace_engine.h"
#include "kvm/probe.h"

namespace lambdo::cli {

/// The folder of this program, where the agent lies beside it when installed and one folder away in a build.
static Result<std::string> program_folder() {
  char path[PATH_MAX];
  const ssize_t len_bytes = ::readlink("/proc/self/exe", path, sizeof path);
  if (len_bytes < 0) return fail_errno("readlink /proc/self/exe");
  const std::string program(path, static_cast<size_t>(len_bytes));
  return program.substr(0, program.rfind('/'));
}

static Result<std::string> find_agent(const Config& config) {
  if (!config.agent.path.empty()) {
    if (::access(config.agent.path.c_str(), R_OK) != 0) {
      return std::unexpected(
          errno_error(errno, "agent.path: " + config.agent.path).with_code(Code::unavailable));
    }
    return config.agent.path;
  }
  const std::string folder = TRY(program_folder());
  for (const std::string& candidate : {folder + "/lambdo-agent", folder + "/../../agent/lambdo-agent"}) {
    if (sys::exists(candidate)) return candidate;
  }
  return fail(Code::unavailable,
              "no lambdo-agent beside " + folder + "/lambdo; set agent.path in the configuration");
}

static Result<std::string> choose_engine(const Config& config) {
  static constexpr const char* kNotBuilt = "this version of Lambdo has no kvm engine yet";
  switch (config.vmm.engine) {
    case EngineChoice::namespaces:
      return std::string();
    case EngineChoice::kvm:
      return fail(Code::unavailable,
                  std::string("vmm.engine: kvm: ") + kNotBuilt + "; set it to namespace or auto");
    case EngineChoice::automatic:
      break;
  }
  const auto probe = kvm::probe_kvm();
  if (!probe) return "vmm.engine: auto took namespace: " + probe.error().message;
  if (!probe->usable()) return "vmm.engine: auto took namespace: " + probe->reason;
  return std::string("vmm.engine: auto took namespace: ") + kNotBuilt;
}

Result<Foundation> lay_foundation(const Config& config) {
  Foundation foundation;
  foundation.engine_warning = TRY(choose_engine(config));
  namespaces::LauncherOptions options;
  options.state_dir = config.state_dir;
  // Runs, guests that wait, and as many that are on their way out.
  size_t guests = config.runner.max_running;
  for (const engine::Language& language : config.languages) guests += language.warm;
  options.max_sandboxes = std::max(options.max_sandboxes, static_cast<uint32_t>(2 * guests));
  foundation.launcher = TRY(namespaces::Launcher::start_process(options));
  return foundation;
}

static engine::RunnerOptions runner_options(const Config& config) {
  engine::RunnerOptions options;
  options.max_running = config.runner.max_running;
  options.queue_length = config.runner.queue_length;
  options.queue_timeout_ms = static_cast<int64_t>(config.runner.queue_timeout_ms);
  options.starting_guests = std::max(2U, std::thread::hardware_concurrency());
  options.max_limits = config.limits.maximum;
  return options;
}

Runtime::Runtime(reactor::Reactor& reactor, const Config& config, Foundation foundation)
    : reactor_(reactor),
      config_(config),
      engine_warning_(std::move(foundation.engine_warning)),
      launcher_(reactor, std::move(foundation.launcher)),
      agents_(reactor) {}

Runtime::~Runtime() = default;

reactor::Task<Result<>> Runtime::start() {
  std::string agent = CO_TRY(find_agent(config_));
  engine_ = std::make_unique<engine::NamespaceEngine>(reactor_, launcher_, std::move(agent));
  CO_TRY(co_await engine_->prepare(config_.languages));
  runner_ = std::make_unique<engine::Runner>(reactor_, *engine_, agents_, config_.languages,
                                             runner_options(config_));
  runner_->start();
  co_return Result<>{};
}

reactor::Task<> Runtime::stop() {
  if (runner_) co_await runner_->stop();
  if (engine_) {
    co_await engine_->stop();
  } else {
    co_await launcher_.stop();
  }
}

std::vector<std::string> Runtime::warnings() const {
  std::vector<std::string> warnings = engine_ ? engine_->warnings() : std::vector<std::string>();
  if (!engine_warning_.empty()) warnings.insert(warnings.begin(), engine_warning_);
  return warnings;
}

}  // namespace lambdo::cli
