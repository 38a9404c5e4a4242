#include "engine/agent_runtime.h"

#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/sockets.h"
#include "engine/agent_runtime_state.h"

namespace lambdo::engine {

namespace rpc = grpc_definitions;

// Registrations are a few bytes; an agent that sends more is none.
static constexpr int kMaxRegistrationBytes = 4096;

IncomingCall::IncomingCall(AgentRuntime::State& state) : state_(state), next_(state.first_call) {
  if (next_ != nullptr) next_->previous_ = this;
  state.first_call = this;
}

IncomingCall::~IncomingCall() {
  (previous_ == nullptr ? state_.first_call : previous_->next_) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

namespace {

grpc::Status to_status(const Error& error) {
  const auto code = error.code == Code::permission_denied ? grpc::StatusCode::PERMISSION_DENIED
                                                          : grpc::StatusCode::FAILED_PRECONDITION;
  return {code, error.message};
}

const Error kNobodyRegisters{Code::unavailable, 0, "this server takes no registrations"};

/// Register or Status: waits for a call, answers it, and is gone when the answer is sent.
template <typename Request, typename Response>
class RegistryCall : public IncomingCall {
 public:
  void finish(bool ok) final {
    if (!ok || answered_) {
      delete this;
      return;
    }
    answered_ = true;
    wait_for_next();
    Response response;
    const grpc::Status status = answer(request_, response);
    responder_.Finish(response, status, static_cast<Completion*>(this));
  }

 protected:
  explicit RegistryCall(AgentRuntime::State& state) : IncomingCall(state) {}
  /// A call like this one for the next request.
  virtual void wait_for_next() = 0;
  virtual grpc::Status answer(const Request& request, Response& response) = 0;

  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncResponseWriter<Response> responder_{&context_};

 private:
  bool answered_ = false;
};

class RegisterCall final : public RegistryCall<rpc::RegisterRequest, rpc::RegisterResponse> {
 public:
  explicit RegisterCall(AgentRuntime::State& state) : RegistryCall(state) {
    state.service.RequestRegister(&context_, &request_, &responder_, state.queue.get(), state.queue.get(),
                                  static_cast<Completion*>(this));
  }

 private:
  void wait_for_next() override { new RegisterCall(state_); }
  grpc::Status answer(const rpc::RegisterRequest& request, rpc::RegisterResponse& response) override {
    if (state_.registry == nullptr) return to_status(kNobodyRegisters);
    auto id = state_.registry->register_agent(request.token(), request.port());
    if (id) {
      response.set_id(*std::move(id));
    } else {
      response.set_error(id.error().message);
    }
    return grpc::Status::OK;
  }
};

class StatusCall final : public RegistryCall<rpc::StatusMessage, rpc::Empty> {
 public:
  explicit StatusCall(AgentRuntime::State& state) : RegistryCall(state) {
    state.service.RequestStatus(&context_, &request_, &responder_, state.queue.get(), state.queue.get(),
                                static_cast<Completion*>(this));
  }

 private:
  void wait_for_next() override { new StatusCall(state_); }
  grpc::Status answer(const rpc::StatusMessage& request, rpc::Empty& /*response*/) override {
    if (state_.registry == nullptr) return to_status(kNobodyRegisters);
    state_.registry->agent_status(request.id(), request.code() == rpc::READY);
    return grpc::Status::OK;
  }
};

}  // namespace

AgentRuntime::State::State(reactor::Reactor& owner) : reactor(owner) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(kMaxRegistrationBytes);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  queue = builder.AddCompletionQueue();
  server = builder.BuildAndStart();
  CHECK(server != nullptr);  // it listens nowhere, so there is nothing that could be taken
  new RegisterCall(*this);
  new StatusCall(*this);
  thread = std::thread([this] { pump(); });
}

AgentRuntime::State::~State() {
  server->Shutdown(std::chrono::system_clock::now());
  queue->Shutdown();
  thread.join();
  // The reactor runs no more, so nobody has told these of their end.
  while (first_call != nullptr) delete first_call;
}

void AgentRuntime::State::pump() {
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) {
    reactor.mailbox().post([tag, ok] { static_cast<Completion*>(tag)->finish(ok); });
  }
}

AgentRuntime::AgentRuntime(reactor::Reactor& reactor) : state_(std::make_unique<State>(reactor)) {}
AgentRuntime::~AgentRuntime() = default;

void AgentRuntime::set_registry(AgentRegistry* registry) {
  state_->registry = registry;
}

Result<> AgentRuntime::serve(Fd socket) {
  TRY(sys::set_nonblocking(socket));
  grpc::AddInsecureChannelFromFd(state_->server.get(), socket.release());
  return {};
}

}  // namespace lambdo::engine
