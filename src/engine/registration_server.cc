#include "engine/registration_server.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <chrono>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/sockets.h"
#include "engine/completion_thread.h"
#include "lambdo.grpc.pb.h"

namespace lambdo::engine {

namespace proto = grpc_definitions;

// Registrations are a few bytes; an agent that sends more is none.
static constexpr int kMaxRegistrationBytes = 4096;

struct RegistrationServer::State {
  /// A call that an agent makes or may make, from the wait for it until it has been answered.
  class Call : public Completion {
   public:
    virtual ~Call() = default;
  };

  /// Has one more call of this kind wait for an agent.
  template <typename Kind>
  void await_call() {
    auto call = std::make_unique<Kind>(*this);
    call->request_from(*queue);
    Call* const key = call.get();
    calls.emplace(key, std::move(call));
  }

  AgentRegistry* registry = nullptr;
  proto::LambdoApiService::AsyncService service;
  std::unique_ptr<grpc::ServerCompletionQueue> untaken_queue;
  grpc::ServerCompletionQueue* queue = nullptr;
  std::unique_ptr<grpc::Server> server;
  std::map<Call*, std::unique_ptr<Call>> calls;
};

/// One call of an agent: waits for it, answers it, and is gone when the answer has been sent. gRPC wants such
/// an object to be there before the call comes, so each that gets its call has the next one wait.
template <typename Request, typename Response>
class RegistrationServer::IncomingCall : public State::Call {
 public:
  explicit IncomingCall(State& state) : state_(state) {}

  void finish(bool ok) final {
    // Not ok: the server shuts down, or the agent went away before it had its answer.
    if (!ok || answered_) {
      state_.calls.erase(this);
      return;
    }
    answered_ = true;
    await_next();
    Response response;
    const grpc::Status status =
        state_.registry != nullptr
            ? answer(*state_.registry, request_, response)
            : grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "this server takes no registrations");
    responder_.Finish(response, status, tag());
  }

 protected:
  virtual void await_next() = 0;
  virtual grpc::Status answer(AgentRegistry& registry, const Request& request, Response& response) = 0;
  void* tag() { return static_cast<Completion*>(this); }

  State& state_;
  grpc::ServerContext context_;
  Request request_;
  grpc::ServerAsyncResponseWriter<Response> responder_{&context_};

 private:
  bool answered_ = false;
};

class RegistrationServer::RegisterCall final
    : public IncomingCall<proto::RegisterRequest, proto::RegisterResponse> {
 public:
  using IncomingCall::IncomingCall;
  void request_from(grpc::ServerCompletionQueue& queue) {
    state_.service.RequestRegister(&context_, &request_, &responder_, &queue, &queue, tag());
  }

 private:
  void await_next() override { state_.await_call<RegisterCall>(); }
  grpc::Status answer(AgentRegistry& registry, const proto::RegisterRequest& request,
                      proto::RegisterResponse& response) override {
    auto id = registry.register_agent(request.token(), request.port());
    if (id) {
      response.set_id(*std::move(id));
    } else {
      response.set_error(id.error().message);
    }
    return grpc::Status::OK;
  }
};

class RegistrationServer::StatusCall final : public IncomingCall<proto::StatusMessage, proto::Empty> {
 public:
  using IncomingCall::IncomingCall;
  void request_from(grpc::ServerCompletionQueue& queue) {
    state_.service.RequestStatus(&context_, &request_, &responder_, &queue, &queue, tag());
  }

 private:
  void await_next() override { state_.await_call<StatusCall>(); }
  grpc::Status answer(AgentRegistry& registry, const proto::StatusMessage& request,
                      proto::Empty& /*response*/) override {
    registry.agent_status(request.id(), request.code() == proto::READY);
    return grpc::Status::OK;
  }
};

RegistrationServer::RegistrationServer() : state_(std::make_unique<State>()) {
  grpc::ServerBuilder builder;
  builder.RegisterService(&state_->service);
  builder.SetMaxReceiveMessageSize(kMaxRegistrationBytes);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  state_->untaken_queue = builder.AddCompletionQueue();
  state_->queue = state_->untaken_queue.get();
  state_->server = builder.BuildAndStart();
  CHECK(state_->server != nullptr);  // it listens nowhere, so there is nothing that could be taken
  state_->await_call<RegisterCall>();
  state_->await_call<StatusCall>();
}

// The reactor runs no more, so calls that were not answered are still there and go with the state.
RegistrationServer::~RegistrationServer() = default;

std::unique_ptr<grpc::CompletionQueue> RegistrationServer::take_queue() {
  return std::move(state_->untaken_queue);
}

void RegistrationServer::shut_down() {
  state_->server->Shutdown(std::chrono::system_clock::now());
}

void RegistrationServer::set_registry(AgentRegistry* registry) {
  state_->registry = registry;
}

Result<> RegistrationServer::serve(Fd socket) {
  TRY(sys::set_nonblocking(socket));
  grpc::AddInsecureChannelFromFd(state_->server.get(), socket.release());
  return {};
}

}  // namespace lambdo::engine
