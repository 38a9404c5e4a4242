#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/configurator.h"
#include "agent/rpc_server.h"
#include "agent/run_supervisor.h"
#include "agent/workspace.h"

namespace grpc_definitions {
class ExecuteRequest;
}

namespace lambdo::agent {

/// What a run is carried out with; all must outlive the service.
struct ServiceParts {
  const Workspace& workspace;
  RunSupervisor& supervisor;
  int input;                  ///< descriptor of create_input()
  bool owns_machine = false;  ///< whether the guest's name and network are the agent's to set
};

/// LambdoAgentService, on any number of connections: Execute runs once.
class Service final : public RpcHandler {
 public:
  explicit Service(const ServiceParts& parts) : parts_(parts) {}
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  void on_call(RpcServer& server, int32_t call, std::string_view method, std::string request) override;
  void on_cancelled(RpcServer& server, int32_t call) override;

  /// A client wants the guest to end: once that client's connection has closed, it may.
  [[nodiscard]] bool power_off_asked() const { return power_off_asked_; }

 private:
  void status(RpcServer& server, int32_t call);
  void execute(RpcServer& server, int32_t call, std::string request);
  void configure(RpcServer& server, int32_t call, const std::string& request);
  Result<> start(grpc_definitions::ExecuteRequest request);
  void finish(const grpc_definitions::ExecuteRequest& request, Result<std::vector<StepReport>> reports);

  ServiceParts parts_;
  Configurator configurator_;
  std::string run_id_;
  bool used_ = false;
  bool power_off_asked_ = false;
  RpcServer* waiting_ = nullptr;  ///< the client of the run, as long as it wants the answer
  int32_t call_ = 0;
};

}  // namespace lambdo::agent
