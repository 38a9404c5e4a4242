#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/configurator.h"
#include "agent/run_supervisor.h"
#include "agent/workspace.h"
#include "rpc/server_session.h"

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

/// LambdoAgentService of proto/lambdo.proto, on any number of the host's connections: Execute runs once.
class Service final : public rpc::CallHandler {
 public:
  explicit Service(const ServiceParts& parts) : parts_(parts) {}
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  void on_call(rpc::ServerSession& session, int32_t call, std::string_view method,
               std::string request) override;
  void on_cancelled(rpc::ServerSession& session, int32_t call) override;

  /// The host wants the guest to end: once the connection that said so has closed, the guest may end.
  [[nodiscard]] bool power_off_asked() const { return power_off_asked_; }

 private:
  void status(rpc::ServerSession& session, int32_t call);
  void execute(rpc::ServerSession& session, int32_t call, std::string request);
  void configure(rpc::ServerSession& session, int32_t call, const std::string& request);
  Result<> start(grpc_definitions::ExecuteRequest request);
  void finish(const grpc_definitions::ExecuteRequest& request, Result<std::vector<StepReport>> reports);

  ServiceParts parts_;
  Configurator configurator_;
  std::string run_id_;
  bool used_ = false;
  bool power_off_asked_ = false;
  rpc::ServerSession* waiting_ = nullptr;  ///< the client of the run, as long as it wants the answer
  int32_t call_ = 0;
};

}  // namespace lambdo::agent
