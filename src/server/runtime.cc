#include "server/runtime.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <utility>

#include "base/syscalls.h"
#include "engine/kvm_engine.h"
#include "engine/namespace_engine.h"
#include "server/network_setup.h"

namespace lambdo::server {

static engine::RunnerOptions runner_options(const config::Config& config) {
  engine::RunnerOptions options{};
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

Runtime::Runtime(reactor::Reactor& reactor, const config::Config& config, StartedHelpers helpers)
    : reactor_(reactor),
      config_(config),
      helpers_(std::move(helpers)),
      agents_(reactor),
      files_(reactor, 1) {}

Runtime::~Runtime() = default;

reactor::Task<Result<>> Runtime::start() {
  if (helpers_.network) {
    network_ =
        std::make_unique<net::GuestNetwork>(reactor_, *std::move(helpers_.network), helpers_.resolvers);
  }
  if (config_.agent.transport == config::AgentTransport::tcp) {
    listener_ = std::make_unique<engine::AgentListener>(
        reactor_, engine::AgentListenerOptions{.host = config_.api.grpc_host, .port = config_.api.grpc_port});
    if (auto listening = listener_->start(); !listening)
      co_return std::unexpected(std::move(listening).error().with_context("api.grpc_host, api.gprc_port"));
  }
  if (helpers_.kvm) {
    const engine::KvmEngineOptions options{
        .boot_timeout_ms = static_cast<int64_t>(config_.vmm.boot_timeout_ms),
        .listener = listener_.get(),
        .network_limits = device_limits(config_.network.limits)};
    engine_ =
        std::make_unique<engine::KvmEngine>(reactor_, agents_, files_, *std::move(helpers_.kvm), options);
  } else {
    launcher_ = std::make_unique<namespaces::Launcher>(reactor_, *std::move(helpers_.launcher));
    engine_ = std::make_unique<engine::NamespaceEngine>(
        reactor_, *launcher_, helpers_.agent_path,
        network_ ? std::optional(helpers_.resolvers) : std::nullopt);
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
  auto services = image::ImageServices::create(reactor_, {.store_folder = config_.store_folder(),
                                                          .registries = config_.registries,
                                                          .credentials = std::move(helpers_.credentials),
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
  if (!helpers_.engine_warning.empty()) warnings.insert(warnings.begin(), helpers_.engine_warning);
  if (network_ && helpers_.resolvers.empty()) {
    warnings.emplace_back(
        "guests with a network have no DNS: /etc/resolv.conf names no resolver that they can reach; set "
        "network.resolvers");
  }
  return warnings;
}

}  // namespace lambdo::server
