#include "engine/vsock_agents.h"

#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "engine/kvm_material.h"

namespace lambdo::engine {

// An agent registers on one connection; more than a few are no agent's.
static constexpr int kMaxConnections = 4;

VsockAgents::VsockAgents(reactor::Reactor& reactor, RegistrationServer& server)
    : reactor_(reactor), server_(server) {
  server_.set_registry(this);
}

VsockAgents::~VsockAgents() {
  CHECK(agents_.empty());
  server_.set_registry(nullptr);
}

Result<std::string> VsockAgents::register_agent(const std::string& token, uint32_t port) {
  const auto found = agents_.find(token);
  if (found == agents_.end()) return fail(Code::permission_denied, "no guest has this token");
  return found->second->note_registration(port);
}

void VsockAgents::agent_status(const std::string& id, bool ready) {
  const auto found = agents_.find(id);
  if (found != agents_.end()) found->second->note_status(ready);
}

VsockAgent::VsockAgent(VsockAgents& agents, vsock::Vsock& device, std::string token)
    : agents_(agents), device_(device), token_(std::move(token)), became_ready_(agents.reactor_) {
  agents_.agents_.emplace(token_, this);
}

VsockAgent::~VsockAgent() {
  agents_.agents_.erase(token_);
}

void VsockAgent::listen() {
  device_.listen(kRegistrationPort, [this](Fd socket, uint32_t /*peer_port*/) { accept(std::move(socket)); });
}

void VsockAgent::accept(Fd socket) {
  // Closed at once where it is one too many, or comes when there is nothing left to say.
  if (ready_ || ++connections_ > kMaxConnections) return;
  if (const auto served = agents_.server_.serve(std::move(socket)); !served) {
    log::error("a registration cannot be served", {{"error", served.error().message}});
  }
}

Result<std::string> VsockAgent::note_registration(uint32_t port) {
  if (port_ != 0) return fail(Code::permission_denied, "this guest's agent has registered already");
  if (port == 0) return fail(Code::invalid_argument, "port 0 is none");
  port_ = port;
  return token_;
}

void VsockAgent::note_status(bool ready) {
  if (!ready || port_ == 0 || ready_) return;
  ready_ = true;
  // Programs of the guest have no business there.
  device_.listen(kRegistrationPort, {});
  became_ready_.notify_all();
}

reactor::Task<Result<Fd>> VsockAgent::connect(reactor::CancelToken token) {
  while (!ready_) CO_TRY(co_await became_ready_.wait(token));
  co_return co_await device_.connect(port_, token);
}

}  // namespace lambdo::engine
