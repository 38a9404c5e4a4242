#include "cli/runtime.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <utility>

#include "base/syscalls.h"
#include "cli/network_setup.h"
#include "cli/programs.h"
#include "cli/registry_credentials.h"
#include "engine/kvm_engine.h"
#include "engine/namespace_engine.h"
#include "kvm/probe.h"

namespace lambdo::cli {

/// Why the kvm engine cannot run here, or what it needs.
static Result<engine::KvmMaterial> prepare_kvm(const Config& config, const std::string& agent_path) {
  const auto probe = TRY(kvm::probe_kvm());
  if (!probe.usable()) return fail(Code::unavailable, probe.reason + "; " + probe.remedy);
  const engine::KvmFiles files{.agent_path = agent_path,
                               .kernel_path = config.vmm.kernel,
                               .modules_path = config.vmm.modules,
                               .kernel_arguments = config.vmm.kernel_arguments,
                               .networks = gives_network(config)};
  return engine::load_kvm_material(files, config.languages);
}

static Result<namespaces::LauncherProcess> start_launcher(const Config& config) {
  namespaces::LauncherOptions options;
  options.state_dir = config.state_dir;
  // Runs, guests that wait, and as many that are on their way out.
  size_t guests = config.runner.max_running;
  for (const engine::Language& language : config.languages) guests += language.warm;
  options.max_sandboxes = std::max(options.max_sandboxes, static_cast<uint32_t>(2 * guests));
  return namespaces::Launcher::start_process(options);
}

/// Agents come over their guests' network, which leads to the bridge's address only.
static Result<> check_agents_address(const Config::Api& api) {
  if (api.grpc_port == 0) {
    return fail(Code::invalid_argument,
                "api.gprc_port: 0 is no port that guests could be told; with agent.transport: tcp write one");
  }
  const std::string bridge = TRY(Ipv4Subnet::parse(api.bridge_address)).address.text();
  if (api.grpc_host == bridge || api.grpc_host == "0.0.0.0" || api.grpc_host == "::") return {};
  return fail(Code::invalid_argument, "api.grpc_host: guests do not reach " + api.grpc_host +
                                          "; with agent.transport: tcp leave it out or write " + bridge);
}

static Result<> start_network(const Config& config, net::PortKind kind, Foundation& foundation) {
  if (!gives_network(config)) return {};
  const bool is_tcp = config.agent.transport == AgentTransport::tcp;
  if (is_tcp) TRY(check_agents_address(config.api));
  const net::HostNetworkSettings settings =
      TRY(network_settings(config, kind, is_tcp ? std::optional(config.api.grpc_port) : std::nullopt));
  foundation.network = TRY(net::GuestNetwork::start_process(settings));
  foundation.resolvers = settings.resolvers;
  return {};
}

static Result<Foundation> start_processes(const Config& config) {
  Foundation foundation;
  foundation.agent_path = TRY(find_agent(config.agent.path));
  if (config.vmm.engine != EngineChoice::namespaces) {
    auto material = prepare_kvm(config, foundation.agent_path);
    if (material) {
      TRY(start_network(config, net::PortKind::tap, foundation));
      foundation.kvm = *std::move(material);
      return foundation;
    }
    if (config.vmm.engine == EngineChoice::kvm)
      return std::unexpected(std::move(material).error().with_context("vmm.engine: kvm"));
    // Who has KVM and names a kernel wants VMs: a mistake in the files must not quietly take the wall away.
    if (material.error().code != Code::unavailable)
      return std::unexpected(std::move(material).error().with_context("vmm.engine: auto"));
    if (config.agent.transport == AgentTransport::tcp) {
      return fail(Code::unavailable,
                  "agent.transport: tcp needs the kvm engine: " + material.error().message);
    }
    foundation.engine_warning = "vmm.engine: auto took namespace: " + material.error().message;
  }
  foundation.launcher = TRY(start_launcher(config));
  TRY(start_network(config, net::PortKind::veth, foundation));
  return foundation;
}

Result<Foundation> lay_foundation(const Config& config, int interrupt_fd) {
  Foundation foundation = TRY(start_processes(config));
  // Last: processes that were forked before have no secrets in their memory.
  foundation.credentials = TRY(find_credentials(config, interrupt_fd));
  return foundation;
}

static engine::RunnerOptions runner_options(const Config& config) {
  engine::RunnerOptions options;
  options.max_running = config.runner.max_running;
  options.queue_length = config.runner.queue_length;
  options.queue_timeout_ms = static_cast<int64_t>(config.runner.queue_timeout_ms);
  options.starting_guests = std::max(2U, std::thread::hardware_concurrency());
  options.max_limits = config.limits.maximum;
  options.max_network = config.network.requests;
  // A guest that boots slower than allowed is told as such, by its engine.
  constexpr int64_t kMarginMs = 5000;
  options.start_timeout_ms =
      std::max(options.start_timeout_ms, static_cast<int64_t>(config.vmm.boot_timeout_ms) + kMarginMs);
  return options;
}

Runtime::Runtime(reactor::Reactor& reactor, const Config& config, Foundation foundation)
    : reactor_(reactor),
      config_(config),
      foundation_(std::move(foundation)),
      agents_(reactor),
      files_(reactor, 1) {}

Runtime::~Runtime() = default;

reactor::Task<Result<>> Runtime::start() {
  if (foundation_.network) {
    network_ =
        std::make_unique<net::GuestNetwork>(reactor_, *std::move(foundation_.network), foundation_.resolvers);
  }
  if (config_.agent.transport == AgentTransport::tcp) {
    listener_ = std::make_unique<engine::AgentListener>(
        reactor_, engine::AgentListenerOptions{.host = config_.api.grpc_host, .port = config_.api.grpc_port});
    if (auto listening = listener_->start(); !listening)
      co_return std::unexpected(std::move(listening).error().with_context("api.grpc_host, api.gprc_port"));
  }
  if (foundation_.kvm) {
    const engine::KvmEngineOptions options{
        .boot_timeout_ms = static_cast<int64_t>(config_.vmm.boot_timeout_ms),
        .listener = listener_.get(),
        .network_limits = device_limits(config_.network.limits)};
    engine_ =
        std::make_unique<engine::KvmEngine>(reactor_, agents_, files_, *std::move(foundation_.kvm), options);
  } else {
    launcher_ = std::make_unique<namespaces::Launcher>(reactor_, *std::move(foundation_.launcher));
    engine_ = std::make_unique<engine::NamespaceEngine>(
        reactor_, *launcher_, foundation_.agent_path,
        network_ ? std::optional(foundation_.resolvers) : std::nullopt);
  }
  for (size_t i = 0; i < config_.languages.size(); ++i) {
    if (config_.languages[i].image.empty()) CO_TRY(co_await engine_->prepare(i, config_.languages[i]));
  }
  runner_ = std::make_unique<engine::Runner>(reactor_, *engine_, agents_, network_.get(), config_.languages,
                                             runner_options(config_));
  runner_->start();
  co_return co_await start_images();
}

reactor::Task<Result<>> Runtime::start_images() {
  const auto has_image = [](const engine::Language& language) { return !language.image.empty(); };
  if (std::ranges::none_of(config_.languages, has_image)) co_return Result<>{};
  auto services = ImageServices::create(reactor_, {.store_folder = config_.store_folder(),
                                                   .registries = config_.registries,
                                                   .credentials = std::move(foundation_.credentials),
                                                   .cpus = reactor::BlockingPool::Cpus::all_but_one});
  if (!services) co_return std::unexpected(std::move(services).error().with_context("images"));
  image_services_ = *std::move(services);
  images_ = std::make_unique<LanguageImages>(reactor_, config_, *image_services_, *engine_, *runner_);
  images_->start();
  co_return Result<>{};
}

reactor::Task<Result<>> Runtime::language_ready(size_t language, reactor::CancelToken token) {
  if (!images_) co_return Result<>{};
  co_return co_await images_->first_attempt(language, token);
}

reactor::Task<> Runtime::stop() {
  if (images_) co_await images_->stop();
  if (image_services_) co_await image_services_->close();
  if (runner_) co_await runner_->stop();
  if (engine_) co_await engine_->stop();
  if (listener_) co_await listener_->stop();
  if (network_) co_await network_->stop();
}

std::vector<std::string> Runtime::warnings() const {
  std::vector<std::string> warnings = engine_ ? engine_->warnings() : std::vector<std::string>();
  if (!foundation_.engine_warning.empty()) warnings.insert(warnings.begin(), foundation_.engine_warning);
  if (network_ && foundation_.resolvers.empty()) {
    warnings.emplace_back(
        "guests with a network have no DNS: /etc/resolv.conf names no resolver that they can reach; set "
        "network.resolvers");
  }
  return warnings;
}

}  // namespace lambdo::cli
