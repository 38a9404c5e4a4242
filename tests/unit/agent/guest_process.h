#pragma once

#include <grpcpp/server.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent_process.h"
#include "base/fd.h"

namespace lambdo::agent {

/// The host's side: gives out ids and remembers who came.
class ApiService final : public proto::LambdoApiService::Service {
 public:
  grpc::Status Register(grpc::ServerContext*, const proto::RegisterRequest* request,
                        proto::RegisterResponse* response) override;
  grpc::Status Status(grpc::ServerContext*, const proto::StatusMessage* message, proto::Empty*) override;

  /// False where nobody became ready in time.
  bool wait_ready(int timeout_s = 10);

  std::string refusal;  ///< where not empty, what registering answers
  std::string token;
  uint32_t port = 0;
  std::string ready_id;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ready_ = false;
};

/// The real agent as the init of a "machine" made of namespaces, which shares the kernel of this one: all but
/// vsock and modules. Needs root.
class GuestProcess {
 public:
  /// Files of the agent's folder besides `init`: name and content. `config` gets the sockets added; "../NAME"
  /// is a program in the root.
  using Files = std::vector<std::pair<std::string, std::string>>;

  static bool possible();

  explicit GuestProcess(const Files& files, ApiService* api = nullptr);
  GuestProcess(const GuestProcess&) = delete;
  GuestProcess& operator=(const GuestProcess&) = delete;
  ~GuestProcess();

  /// A new connection of the host.
  std::unique_ptr<proto::LambdoAgentService::Stub> dial();
  /// The same as a plain socket, for the host's own client.
  Fd connect();
  /// As waitpid() gives it; -1 where it still runs after 10 s. 128 + SIGINT tells of a power-off
  /// (reboot(2), "Behavior inside PID namespaces").
  int wait();
  std::string console();
  /// A veth device in the guest's network namespace, whose other end is there too.
  void add_interface(const std::string& name, const std::string& mac);

 private:
  std::string tree_;
  pid_t pid_ = -1;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace lambdo::agent
