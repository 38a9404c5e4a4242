#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "engine/agent_listener.h"
#include "engine/engine.h"
#include "engine/kvm_material.h"
#include "engine/vsock_agents.h"
#include "kvm/boot/boot_archive.h"
#include "kvm/vcpu_threads.h"
#include "kvm/vm.h"
#include "reactor/blocking_pool.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"
#include "reactor/task.h"
#include "virtio/rng.h"
#include "virtio_net/device.h"
#include "virtio_net/rate_limit.h"
#include "vsock/device.h"

namespace lambdo::engine {

/// What all microVMs of an engine share. All of it outlives them.
struct KvmGuestHost {
  reactor::Reactor& reactor;
  kvm::VcpuThreads& threads;
  reactor::BlockingPool& taps;  ///< opens, writes and closes TAPs
  const KvmMaterial& material;
  VsockAgents& vsock_agents;  ///< where our own agents register
  AgentListener* listener;  ///< where agents of images with an init of their own do; nullptr: there are none
  virtio_net::DirectionLimits network_limits;  ///< of a guest, each way
};

/// A microVM with its devices and the way to its agent. It is booted once, used for one run, and destroyed.
class KvmGuest final : public Guest {
 public:
  /// `host` and `language` outlive the guest. With `network` it has that interface, whose end is its own.
  KvmGuest(const KvmGuestHost& host, const KvmLanguage& language, kvm::BootToken token,
           std::optional<net::AttachedGuest> network);

  /// From nothing to a connected agent; the token is the only limit on the wait for it. Errors as the VM's,
  /// the devices' and the agent's are; guest_panic or guest_ended where the VM ended by itself. destroy()
  /// follows, whatever came of it.
  reactor::Task<Result<>> boot(reactor::CancelToken token);
  /// How far a guest that did not come up within `allowed_ms` got: the error for its run. Logs the console.
  [[nodiscard]] Error boot_timeout(int64_t allowed_ms) const;

  Fd take_agent_socket() override { return std::move(agent_socket_); }
  reactor::Task<Result<>> configure(AgentConnection& agent, reactor::CancelToken token) override;
  [[nodiscard]] bool alive() const override { return vm_ != nullptr && !vm_->ended().is_set(); }
  reactor::Task<std::optional<Error>> reason_of_end() override;
  // The agent applies them, as the request says.
  reactor::Task<Result<>> apply_limits(Limits /*limits*/) override { co_return Result<>{}; }
  reactor::Task<Result<GuestUsage>> usage() override { co_return GuestUsage{}; }
  reactor::Task<Result<GuestUsage>> destroy() override;

 private:
  // The steps of boot().
  reactor::Task<Result<>> add_network_device();
  reactor::Task<Result<>> start_vm();
  reactor::Task<Result<Fd>> dial_agent(reactor::CancelToken token);

  // In the background while the VM runs.
  reactor::Task<> cancel_at_end_of_vm(reactor::Scope& scope);
  reactor::Task<> end_connections_with_vm(reactor::CancelToken token);
  /// Once the VM has ended. Logs what its console said last.
  [[nodiscard]] Error why_ended() const;

  const KvmGuestHost& host_;
  const KvmLanguage& language_;
  const kvm::BootToken token_;
  std::optional<net::AttachedGuest> network_;
  virtio::Rng rng_;
  vsock::Vsock vsock_;
  std::optional<virtio_net::Net> net_;  // where there is a network
  VsockAgent vsock_agent_;
  std::unique_ptr<ExpectedAgent> tcp_agent_;  // in place of that one where the image has an init of its own
  std::unique_ptr<kvm::Vm> vm_;
  Fd agent_socket_;
  reactor::Scope scope_;
};

}  // namespace lambdo::engine
