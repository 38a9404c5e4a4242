#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/reactor.h"

namespace lambdo::engine {

/// What agents say of themselves (LambdoApiService of proto/lambdo.proto). Called on the reactor; every
/// argument is a guest's word.
class AgentRegistry {
 public:
  /// An agent is there and serves on `port`. `token` is what its guest was given when it was made; the id
  /// that the agent gets must be as hard to guess. An error is told to the agent.
  virtual Result<std::string> register_agent(const std::string& token, uint32_t port) = 0;
  /// The agent with this id says whether it can run programs.
  virtual void agent_status(const std::string& id, bool ready) = 0;

 protected:
  ~AgentRegistry() = default;
};

/// The gRPC completion queue, its one thread, and the server for agents that register by themselves.
/// Completions reach the reactor through its mailbox. Outlives all connections; nothing may fork after it has
/// been made.
class AgentRuntime {
 public:
  explicit AgentRuntime(reactor::Reactor& reactor);
  ~AgentRuntime();
  AgentRuntime(const AgentRuntime&) = delete;
  AgentRuntime& operator=(const AgentRuntime&) = delete;

  /// Who answers registrations; without one, with nullptr, they fail. It must be taken away before it dies.
  void set_registry(AgentRegistry* registry);
  /// Serves LambdoApiService on one more connected stream socket, until its other end closes.
  Result<> serve(Fd socket);

  /// What agent_client.cc and agent_runtime.cc share.
  struct State;
  [[nodiscard]] State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace lambdo::engine
