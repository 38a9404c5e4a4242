#include "engine/kvm_engine.h"

#include <optional>
#include <utility>

#include "engine/agent_grpc.h"
#include "reactor/timer.h"

namespace lambdo::engine {

KvmEngine::KvmEngine(reactor::Reactor& reactor, AgentGrpc& agents, reactor::BlockingPool& files,
                     KvmMaterial material, KvmEngineOptions options)
    : reactor_(reactor),
      files_(files),
      taps_(reactor, 1),
      material_(std::move(material)),
      boot_timeout_ms_(options.boot_timeout_ms),
      vsock_agents_(reactor, agents.registrations()),
      guest_host_{.reactor = reactor,
                  .threads = threads_,
                  .taps = taps_,
                  .material = material_,
                  .vsock_agents = vsock_agents_,
                  .listener = options.listener,
                  .network_limits = options.network_limits},
      never_(reactor) {}

std::vector<std::string> KvmEngine::warnings() const {
  return material_.warnings;
}

reactor::Task<Result<>> KvmEngine::prepare(size_t index, const Language& language) {
  // load_kvm_material() has read those that come with a file of their own.
  if (material_.languages.contains(index)) co_return Result<>{};
  const KvmSharedFiles& shared = *material_.shared;
  auto loaded = co_await files_.run([&shared, &language] { return load_kvm_language(shared, language); });
  if (!loaded) {
    co_return std::unexpected(std::move(loaded).error().with_context("languages[" + std::to_string(index) +
                                                                     "] (" + language.name + ")"));
  }
  material_.languages.emplace(index, *std::move(loaded));
  co_return Result<>{};
}

Result<> KvmEngine::check_limits(size_t language, const Limits& limits) const {
  const uint64_t most_mb = material_.languages.at(language).max_memory_mb;
  if (limits.memory_mb <= most_mb) return {};
  return fail(Code::invalid_argument, "limits.memory_mb: the guests of this language have room for " +
                                          std::to_string(most_mb) + " MiB; ask for less");
}

/// What a caller can act on stays; else it is the machine that failed, whatever call it was.
static Error as_start_failure(Error error) {
  switch (error.code) {
    case Code::guest_panic:
    case Code::guest_ended:
    case Code::guest_boot_timeout:
    case Code::agent_protocol:
    case Code::resource_exhausted:
    case Code::cancelled:
      return error;
    default:
      return std::move(error).with_code(Code::engine_failed);
  }
}

reactor::Task<Result<std::unique_ptr<Guest>>> KvmEngine::create_guest(
    size_t language, std::optional<net::AttachedGuest> network, reactor::CancelToken token) {
  auto boot_token = kvm::BootToken::random();
  if (!boot_token) {
    // As in KvmGuest::destroy().
    if (network) co_await taps_.run([&network] { network.reset(); });
    co_return std::unexpected(std::move(boot_token).error());
  }
  auto guest = std::make_unique<KvmGuest>(guest_host_, material_.languages.at(language),
                                          *std::move(boot_token), std::move(network));
  reactor::Deadline deadline(reactor_, reactor_.now_ns() + boot_timeout_ms_ * 1'000'000, token);
  Result<> booted = co_await guest->boot(deadline.token());
  if (booted) co_return guest;
  Error error = deadline.passed() ? guest->boot_timeout(boot_timeout_ms_) : std::move(booted).error();
  (void)co_await guest->destroy();
  co_return std::unexpected(as_start_failure(std::move(error)));
}

reactor::Task<Result<std::string>> KvmEngine::failure(reactor::CancelToken token) {
  CO_TRY(co_await never_.wait(token));
  co_return std::string();
}

reactor::Task<> KvmEngine::stop() {
  co_return;
}

}  // namespace lambdo::engine
