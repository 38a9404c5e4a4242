#pragma once

#include <memory>

#include "agent/supervisor.h"
#include "agent/workspace.h"
#include "base/error.h"

namespace lambdo::agent {

/// What a run is carried out with; all must outlive the service.
struct ServiceParts {
  const Workspace& workspace;
  Supervisor& supervisor;
  int input;  ///< descriptor of create_input()
};

/// Serves LambdoAgentService on one connection. Starting it starts gRPC's threads: nothing may fork
/// afterwards.
class Service {
 public:
  /// Takes over `connection`, a connected Unix stream socket.
  static Result<Service> start(const ServiceParts& parts, Fd connection);

  Service(Service&&) noexcept;
  ~Service();

  /// Handles calls; does not return.
  void serve();

 private:
  struct State;
  class Call;
  class StatusCall;
  class ExecuteCall;

  explicit Service(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace lambdo::agent
