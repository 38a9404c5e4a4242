#pragma once

#include <grpcpp/channel.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "lambdo.grpc.pb.h"

namespace lambdo::agent {

namespace proto = grpc_definitions;

/// The real agent in a temporary workspace, as a plain child or as PID 1 of a namespace made by bubblewrap.
class AgentProcess {
 public:
  enum class Place { plain_child, own_namespace };

  explicit AgentProcess(Place place = Place::plain_child);
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;
  ~AgentProcess();

  struct Answer {
    grpc::Status status;
    proto::ExecuteResponse response;
  };
  Answer execute(const proto::ExecuteRequest& request);
  /// One step with its stdout captured, and 20 s at most.
  Answer execute(const std::string& command);
  proto::LambdoAgentService::Stub& stub() { return *stub_; }
  /// Ends the connection from the host's side; the stub stays.
  void hang_up();
  /// Whether the process of a pidfd ends within 10 s.
  static bool ends(const Fd& process);
  /// The exit status as waitpid() gives it; -1 where it still runs after 10 s.
  int wait();

  pid_t pid() const { return pid_; }
  const std::string& workspace() const { return workspace_; }

 private:
  std::string workspace_;
  pid_t pid_ = -1;
  int socket_ = -1;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<proto::LambdoAgentService::Stub> stub_;
};

/// A request of one step for each command, with stdout captured and a deadline of 20 s.
proto::ExecuteRequest steps(const std::vector<std::string>& commands);
void add_file(proto::ExecuteRequest& request, const std::string& name, const std::string& content);

}  // namespace lambdo::agent
