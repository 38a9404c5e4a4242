#include "engine/agent_client.h"

#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>

#include <string>

#include "base/sockets.h"
#include "engine/agent_grpc.h"
#include "engine/completion_thread.h"
#include "lambdo.grpc.pb.h"

namespace lambdo::engine {

// The agent keeps at most 48 MiB of output a run (agent/run_supervisor.h): a larger answer is no honest one.
static constexpr int kMaxResponseBytes = 64 << 20;

namespace {

/// `cancelled`: whether it was us who wanted the call to end; the guest may claim any status.
Error error_of(const grpc::Status& status, bool cancelled) {
  std::string message = "agent: " + status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::CANCELLED:
      return {cancelled ? Code::cancelled : Code::agent_protocol, 0, std::move(message)};
    case grpc::StatusCode::INVALID_ARGUMENT:
      return {Code::invalid_argument, 0, std::move(message)};
    case grpc::StatusCode::UNAVAILABLE:
      return {Code::agent_lost, 0, std::move(message)};
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return {Code::resource_exhausted, 0, std::move(message)};
    case grpc::StatusCode::UNIMPLEMENTED:
      return {Code::agent_protocol, 0, "agent: does not know this call, as the original's do not"};
    default:
      return {Code::agent_protocol, 0, std::move(message)};
  }
}

/// One unary call, awaited once. Cancelling asks gRPC to stop; the completion still comes through the queue.
template <typename Response>
class UnaryCall final : public Completion, private reactor::CancelHook {
 public:
  UnaryCall(reactor::Reactor& reactor, reactor::CancelToken token) : reactor_(&reactor), token_(token) {}

  grpc::ClientContext& context() { return context_; }
  void start(std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader) {
    reader_ = std::move(reader);
    reader_->Finish(&response_, &status_, static_cast<Completion*>(this));
  }

  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    waiter_.handle = awaiting;
    if (token_.cancelled()) {
      context_.TryCancel();
    } else if (token_.source() != nullptr) {
      hook(*token_.source());
    }
  }
  /// Once it has been awaited.
  [[nodiscard]] bool is_unimplemented() const {
    return status_.error_code() == grpc::StatusCode::UNIMPLEMENTED;
  }
  Result<Response> await_resume() {
    if (!status_.ok()) return std::unexpected(error_of(status_, token_.cancelled()));
    return std::move(response_);
  }

 private:
  /// Always ok for a unary call: the outcome is in its status (grpc::CompletionQueue::Next).
  void finish(bool /*ok*/) override {
    unhook();
    reactor_->resume_later(waiter_);
  }
  void on_cancel() override { context_.TryCancel(); }

  reactor::Reactor* reactor_;
  reactor::CancelToken token_;
  reactor::Waiter waiter_;
  grpc::ClientContext context_;
  Response response_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
};

}  // namespace

struct AgentConnection::State {
  explicit State(CompletionThread& of_all_agents) : completions(of_all_agents) {}

  CompletionThread& completions;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<grpc_definitions::LambdoAgentService::Stub> stub;
};

AgentConnection::AgentConnection(std::unique_ptr<State> state) : state_(std::move(state)) {}
AgentConnection::~AgentConnection() = default;

Result<std::unique_ptr<AgentConnection>> AgentConnection::create(AgentGrpc& grpc, Fd socket) {
  TRY(sys::set_nonblocking(socket));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxResponseBytes);
  arguments.SetMaxSendMessageSize(-1);
  // Every guest has a connection of its own: nothing to be found in the global pool of subchannels.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  auto state = std::make_unique<State>(grpc.completions());
  state->channel = grpc::CreateCustomInsecureChannelFromFd("lambdo-agent", socket.release(), arguments);
  state->stub = grpc_definitions::LambdoAgentService::NewStub(state->channel);
  return std::unique_ptr<AgentConnection>(new AgentConnection(std::move(state)));
}

reactor::Task<Result<>> AgentConnection::wait_ready(reactor::CancelToken token) {
  CompletionThread& completions = state_->completions;
  const grpc_definitions::Empty request;
  UnaryCall<grpc_definitions::StatusMessage> call(completions.reactor(), token);
  call.start(state_->stub->AsyncStatus(&call.context(), request, &completions.queue()));
  const auto answer = co_await call;
  if (call.is_unimplemented()) co_return Result<>{};
  const auto status = CO_TRY(answer);
  if (status.code() != grpc_definitions::READY) {
    co_return fail(Code::agent_protocol, "agent: says it is not ready before its first run");
  }
  co_return Result<>{};
}

reactor::Task<Result<>> AgentConnection::configure(const grpc_definitions::ConfigureRequest& request,
                                                   reactor::CancelToken token) {
  CompletionThread& completions = state_->completions;
  UnaryCall<grpc_definitions::Empty> call(completions.reactor(), token);
  call.start(state_->stub->AsyncConfigure(&call.context(), request, &completions.queue()));
  CO_TRY(co_await call);
  co_return Result<>{};
}

reactor::Task<Result<grpc_definitions::ExecuteResponse>> AgentConnection::execute(
    const grpc_definitions::ExecuteRequest& request, reactor::CancelToken token) {
  CompletionThread& completions = state_->completions;
  UnaryCall<grpc_definitions::ExecuteResponse> call(completions.reactor(), token);
  call.start(state_->stub->AsyncExecute(&call.context(), request, &completions.queue()));
  co_return co_await call;
}

}  // namespace lambdo::engine
