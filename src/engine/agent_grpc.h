#pragma once

#include <memory>

#include "reactor/reactor.h"

namespace lambdo::engine {

class CompletionThread;
class RegistrationServer;

/// gRPC as the engines use it to speak with agents, both ways on one completion queue and its one thread:
/// AgentConnection's calls to agents, and the registrations that agents make. Its header knows no gRPC, so
/// that others need not. Outlives all connections; nothing may fork after it has been made.
class AgentGrpc {
 public:
  /// `reactor` outlives it.
  explicit AgentGrpc(reactor::Reactor& reactor);
  /// Where the reactor runs no more.
  ~AgentGrpc();
  AgentGrpc(const AgentGrpc&) = delete;
  AgentGrpc& operator=(const AgentGrpc&) = delete;

  [[nodiscard]] CompletionThread& completions() { return *completions_; }
  [[nodiscard]] RegistrationServer& registrations() { return *registrations_; }

 private:
  std::unique_ptr<RegistrationServer> registrations_;
  std::unique_ptr<CompletionThread> completions_;
};

}  // namespace lambdo::engine
