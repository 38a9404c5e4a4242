#pragma once

#include <memory>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/cancel.h"
#include "reactor/task.h"

namespace grpc_definitions {
class ConfigureRequest;
class ExecuteRequest;
class ExecuteResponse;
}  // namespace grpc_definitions

namespace lambdo::engine {

class AgentGrpc;

/// The connection to one guest's agent (LambdoAgentService of proto/lambdo.proto). What comes from it is the
/// guest's word and hostile: sizes are capped here, values are validated by who uses them.
class AgentConnection {
 public:
  /// Takes over a connected stream socket. `grpc` outlives the connection.
  static Result<std::unique_ptr<AgentConnection>> create(AgentGrpc& grpc, Fd socket);
  ~AgentConnection();

  /// Waits until the agent says that it is ready. The original Lambdo's agents do not know the question: they
  /// have said it when they registered.
  reactor::Task<Result<>> wait_ready(reactor::CancelToken token);
  /// Gives the guest its name and network, as proto/lambdo.proto says. Errors as of execute(); agent_protocol
  /// also for what the guest's kernel refuses, with its words.
  reactor::Task<Result<>> configure(const grpc_definitions::ConfigureRequest& request,
                                    reactor::CancelToken token);
  /// Runs the request's steps. `request` lives until this returns. Errors: agent_lost where the connection
  /// broke, agent_protocol where the answer is no answer, invalid_argument and resource_exhausted as the
  /// agent says, cancelled with the token.
  reactor::Task<Result<grpc_definitions::ExecuteResponse>> execute(
      const grpc_definitions::ExecuteRequest& request, reactor::CancelToken token);

 private:
  struct State;
  explicit AgentConnection(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace lambdo::engine
