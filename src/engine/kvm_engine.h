#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/agent_listener.h"
#include "engine/agent_runtime.h"
#include "engine/engine.h"
#include "engine/kvm_material.h"
#include "kvm/vcpu_threads.h"
#include "reactor/blocking_pool.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "virtio_net/rate_limit.h"

namespace lambdo::engine {

struct KvmEngineOptions {
  int64_t boot_timeout_ms = 30'000;
  /// Where the agents of images with an init of their own register; outlives the engine. nullptr where no
  /// language has one.
  AgentListener* listener = nullptr;
  virtio_net::DirectionLimits network_limits;  ///< of a guest, each way
};

/// Guests in microVMs of our own VMM: each has a kernel of its own, booted for it. The agent in it registers
/// over vsock, then the host dials it. An image with an init of its own has the original's agent, which does
/// both over the guest's network.
class KvmEngine final : public Engine, private AgentRegistry {
 public:
  /// `agents`, whose registry the engine is, and `files`, for files to be read, outlive it.
  KvmEngine(reactor::Reactor& reactor, AgentRuntime& agents, reactor::BlockingPool& files,
            KvmMaterial material, KvmEngineOptions options);
  ~KvmEngine() override;

  [[nodiscard]] std::string_view name() const override { return "kvm"; }
  [[nodiscard]] std::vector<std::string> warnings() const override;
  reactor::Task<Result<>> prepare(size_t index, const Language& language) override;
  [[nodiscard]] Result<> check_limits(size_t language, const Limits& limits) const override;
  /// Returns when the guest has booted and its agent is connected. Errors: guest_panic, guest_ended,
  /// guest_boot_timeout, agent_protocol, resource_exhausted, cancelled; engine_failed for all else.
  reactor::Task<Result<std::unique_ptr<Guest>>> create_guest(size_t language,
                                                             std::optional<net::AttachedGuest> network,
                                                             reactor::CancelToken token) override;
  reactor::Task<Result<std::string>> failure(reactor::CancelToken token) override;
  reactor::Task<> stop() override;

 private:
  class KvmGuest;
  Result<std::string> register_agent(const std::string& token, uint32_t port) override;
  void agent_status(const std::string& id, bool ready) override;

  reactor::Reactor& reactor_;
  AgentRuntime& agents_;
  reactor::BlockingPool& files_;
  // Apart from the files, of which one may take seconds.
  reactor::BlockingPool taps_;
  kvm::VcpuThreads threads_;
  KvmMaterial material_;
  KvmEngineOptions options_;
  std::map<std::string, KvmGuest*, std::less<>> guests_;  // by token, which is also the agent's id
  reactor::Event never_;
};

}  // namespace lambdo::engine
