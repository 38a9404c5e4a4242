#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/config.h"
#include "cli/image_services.h"
#include "cli/language_images.h"
#include "cli/registry_credentials.h"
#include "engine/agent_client.h"
#include "engine/agent_grpc.h"
#include "engine/agent_listener.h"
#include "engine/engine.h"
#include "engine/kvm_material.h"
#include "engine/runner.h"
#include "namespace/launcher.h"
#include "net/guest_network.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"

namespace lambdo::cli {

/// What must exist before any thread does, or takes time to read: the chosen engine's helper process, or its
/// kernel and archives, and the helper for the network. First part of starting up.
struct Foundation {
  std::optional<namespaces::LauncherProcess> launcher;  ///< of the namespace engine
  std::optional<engine::KvmMaterial> kvm;               ///< of the kvm engine; one of the two is there
  std::string engine_warning;                           ///< why `auto` did not take kvm; empty otherwise
  std::optional<helper::Process> network;  ///< the network helper, where guests may have a network
  std::vector<net::IpAddress> resolvers;   ///< that it was started with
  CredentialsByHost credentials;           ///< of the servers that the languages' images come from
  std::string agent_path;
};

/// Decides on the engine as the configuration wants it and starts its helper process. Fails where the
/// configuration names an engine that this machine cannot carry, where a file of the kvm engine is not what
/// it should be, where guests cannot have the network that they are to have, and, with the namespace engine,
/// where another server uses the state directory. cancelled
/// where `interrupt_fd` (signal_descriptor(); -1: none) can be read while credential helpers are asked.
Result<Foundation> lay_foundation(const Config& config, int interrupt_fd = -1);

/// Everything between a request and its guest, in working order: engine, agents' connections, runner.
class Runtime {
 public:
  /// `config` outlives the runtime.
  Runtime(reactor::Reactor& reactor, const Config& config, Foundation foundation);
  ~Runtime();

  /// Prepares the languages and starts filling the pools. Languages with an image are prepared in the
  /// background.
  reactor::Task<Result<>> start();
  /// Waits for the runs that have been taken, then leaves nothing behind.
  reactor::Task<> stop();

  /// Waits until it is known whether this language's guests can be started.
  reactor::Task<Result<>> language_ready(size_t language, reactor::CancelToken token);

  /// Both after `start`.
  [[nodiscard]] engine::Runner& runner() { return *runner_; }
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  /// nullptr where no guest can have a network.
  [[nodiscard]] net::GuestNetwork* network() { return network_.get(); }
  /// The engine's and our own, for the log and /health.
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  reactor::Task<Result<>> start_images();

  reactor::Reactor& reactor_;
  const Config& config_;
  Foundation foundation_;
  engine::AgentGrpc agents_;
  reactor::BlockingPool files_;
  std::unique_ptr<engine::AgentListener> listener_;  ///< for agents that come over TCP
  std::unique_ptr<net::GuestNetwork> network_;       ///< where guests may have a network
  std::unique_ptr<namespaces::Launcher> launcher_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Runner> runner_;
  std::unique_ptr<ImageServices> image_services_;  ///< these two only where a language has an image
  std::unique_ptr<LanguageImages> images_;
};

}  // namespace lambdo::cli
