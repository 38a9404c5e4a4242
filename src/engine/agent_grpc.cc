#include "engine/agent_grpc.h"

#include "engine/completion_thread.h"
#include "engine/registration_server.h"

namespace lambdo::engine {

AgentGrpc::AgentGrpc(reactor::Reactor& reactor)
    : registrations_(std::make_unique<RegistrationServer>()),
      completions_(std::make_unique<CompletionThread>(reactor, registrations_->take_queue())) {}

AgentGrpc::~AgentGrpc() {
  // In gRPC's order: the server takes no more calls, the queue runs dry, then the server may go, and the
  // queue last.
  registrations_->shut_down();
  completions_->stop();
  registrations_.reset();
}

}  // namespace lambdo::engine
