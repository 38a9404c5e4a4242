#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace grpc {
class CompletionQueue;
}

namespace lambdo::engine {

/// Who knows the guests whose agents register (LambdoApiService of proto/lambdo.proto). Called on the
/// reactor; every argument is a guest's word.
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

/// The gRPC server with which agents register, on connected sockets that others accept: it listens nowhere.
/// A part of AgentGrpc.
class RegistrationServer {
 public:
  RegistrationServer();
  /// shut_down() was called and the queue has run dry.
  ~RegistrationServer();
  RegistrationServer(const RegistrationServer&) = delete;
  RegistrationServer& operator=(const RegistrationServer&) = delete;

  /// Who answers registrations; without one, with nullptr, they fail. It must be taken away before it dies.
  void set_registry(AgentRegistry* registry);
  /// Serves LambdoApiService on one more connected stream socket, until its other end closes.
  Result<> serve(Fd socket);

  /// The queue on which the calls of agents complete. Once; the server needs it until it dies.
  [[nodiscard]] std::unique_ptr<grpc::CompletionQueue> take_queue();
  /// Ends all connections and takes no more calls.
  void shut_down();

 private:
  struct State;
  template <typename Request, typename Response>
  class IncomingCall;
  class RegisterCall;
  class StatusCall;

  std::unique_ptr<State> state_;
};

}  // namespace lambdo::engine
