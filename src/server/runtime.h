#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "engine/agent_client.h"
#include "engine/agent_grpc.h"
#include "engine/agent_listener.h"
#include "engine/engine.h"
#include "engine/kvm_material.h"
#include "engine/runner.h"
#include "image/image_services.h"
#include "namespace/launcher.h"
#include "net/guest_network.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "server/language_images.h"
#include "server/started_helpers.h"

namespace lambdo::server {

/// Everything between a request and its guest, in working order: engine, agents' connections, runner.
class Runtime {
 public:
  /// `config` outlives the runtime.
  Runtime(reactor::Reactor& reactor, const config::Config& config, StartedHelpers helpers);
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
  const config::Config& config_;
  StartedHelpers helpers_;
  engine::AgentGrpc agents_;
  reactor::BlockingPool files_;
  std::unique_ptr<engine::AgentListener> listener_;  ///< for agents that come over TCP
  std::unique_ptr<net::GuestNetwork> network_;       ///< where guests may have a network
  std::unique_ptr<namespaces::Launcher> launcher_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::Runner> runner_;
  std::unique_ptr<image::ImageServices> image_services_;  ///< these two only where a language has an image
  std::unique_ptr<LanguageImages> images_;
};

}  // namespace lambdo::server
