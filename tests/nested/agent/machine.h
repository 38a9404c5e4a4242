#pragma once

#include <grpcpp/server.h>
#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "guest_process.h"

namespace lambdo::agent {

/// One of QEMU's microvm machines with the agent as its init, the guest kernel of $LAMBDO_GUEST_KERNEL and a
/// vsock of the host kernel's.
class Machine {
 public:
  /// The host's gRPC service listens on kRegisterPort, the guest is told to on kListenPort.
  static constexpr unsigned kRegisterPort = 50053;
  static constexpr unsigned kListenPort = 50054;

  /// `image` as BootArchive takes it; `config` gets the ports added.
  Machine(std::span<const std::byte> image, const std::string& config, ApiService& api);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  ~Machine();

  /// A new connection of the host.
  std::unique_ptr<grpc_definitions::LambdoAgentService::Stub> dial();
  /// Whether the machine has ended by itself within a minute.
  bool wait();
  std::string console();

 private:
  void accept_guests();

  std::string folder_;
  std::unique_ptr<grpc::Server> server_;
  Fd listener_;
  Fd stop_;  ///< readable: accept no more
  std::thread accepting_;
  pid_t pid_ = -1;
};

std::vector<std::byte> read_bytes(const std::string& path);

}  // namespace lambdo::agent
