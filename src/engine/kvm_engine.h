#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/agent_listener.h"
#include "engine/engine.h"
#include "engine/kvm_guest.h"
#include "engine/kvm_material.h"
#include "engine/vsock_agents.h"
#include "kvm/vcpu_threads.h"
#include "reactor/blocking_pool.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "virtio_net/rate_limit.h"

namespace lambdo::engine {

class AgentGrpc;

struct KvmEngineOptions {
  int64_t boot_timeout_ms;  ///< from the start of a guest to its connected agent
  /// Where the agents of images with an init of their own register; outlives the engine. nullptr where no
  /// language has one.
  AgentListener* listener = nullptr;
  virtio_net::DirectionLimits network_limits;  ///< of a guest, each way
};

/// Guests in microVMs of our own VMM: each has a kernel of its own, booted for it. The agent in it registers
/// over vsock, then the host dials it. An image with an init of its own has the original's agent, which does
/// both over the guest's network.
class KvmEngine final : public Engine {
 public:
  /// Its guests' agents register at `agents`; `files` reads files. Both outlive the engine.
  KvmEngine(reactor::Reactor& reactor, AgentGrpc& agents, reactor::BlockingPool& files, KvmMaterial material,
            KvmEngineOptions options);

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
  reactor::Reactor& reactor_;
  reactor::BlockingPool& files_;
  // Apart from the files, of which one may take seconds.
  reactor::BlockingPool taps_;
  kvm::VcpuThreads threads_;
  KvmMaterial material_;
  const int64_t boot_timeout_ms_;
  VsockAgents vsock_agents_;
  const KvmGuestHost guest_host_;
  reactor::Event never_;
};

}  // namespace lambdo::engine
