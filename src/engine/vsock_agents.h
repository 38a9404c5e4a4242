#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "engine/registration_server.h"
#include "reactor/cancel.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "vsock/device.h"

namespace lambdo::engine {

class VsockAgent;

/// Agents that come over their microVM's vsock device: an agent connects to kRegistrationPort of the host,
/// calls Register with its guest's token and the port it serves on, then Status with READY and its id, which
/// is the token again. A guest is known by its token, which nobody else can guess. All calls on the reactor.
/// AgentListener is the same for agents that come over TCP.
class VsockAgents final : private AgentRegistry {
 public:
  /// Is the server's registry while it lives. All of these outlive it.
  VsockAgents(reactor::Reactor& reactor, RegistrationServer& server);
  /// All guests' VsockAgents are gone.
  ~VsockAgents();
  VsockAgents(const VsockAgents&) = delete;
  VsockAgents& operator=(const VsockAgents&) = delete;

 private:
  friend VsockAgent;
  Result<std::string> register_agent(const std::string& token, uint32_t port) override;
  void agent_status(const std::string& id, bool ready) override;

  reactor::Reactor& reactor_;
  RegistrationServer& server_;
  std::map<std::string, VsockAgent*, std::less<>> agents_;  // by token
};

/// The agent of one guest, which may register for as long as this lives.
class VsockAgent {
 public:
  /// `device` is the guest's. Both outlive the agent.
  VsockAgent(VsockAgents& agents, vsock::Vsock& device, std::string token);
  /// connect() has returned.
  ~VsockAgent();
  VsockAgent(const VsockAgent&) = delete;
  VsockAgent& operator=(const VsockAgent&) = delete;

  /// Accepts the guest's connections to kRegistrationPort, until its agent is ready.
  void listen();
  /// Waits until the agent has registered and said that it is ready, then dials its port: a connected socket
  /// for AgentConnection::create(). Only the token bounds the wait. Errors as of Vsock::connect().
  reactor::Task<Result<Fd>> connect(reactor::CancelToken token);

  [[nodiscard]] bool registered() const { return port_ != 0; }
  [[nodiscard]] bool ready() const { return ready_; }

 private:
  friend VsockAgents;
  void accept(Fd socket);
  Result<std::string> note_registration(uint32_t port);
  void note_status(bool ready);

  VsockAgents& agents_;
  vsock::Vsock& device_;
  const std::string token_;
  uint32_t port_ = 0;  // 0: not registered
  bool ready_ = false;
  int connections_ = 0;
  reactor::Event became_ready_;
};

}  // namespace lambdo::engine
