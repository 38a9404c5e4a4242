#include "agent/service.h"

#include <fcntl.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include <string>

#include "agent/input.h"
#include "agent/run_request.h"
#include "lambdo.grpc.pb.h"

namespace lambdo::agent {

namespace rpc = grpc_definitions;

static constexpr int kMaxMessageBytes = 64 << 20;

struct Service::State {
  ServiceParts parts;
  rpc::LambdoAgentService::AsyncService service;
  std::unique_ptr<grpc::ServerCompletionQueue> queue;
  std::unique_ptr<grpc::Server> server;
  std::string run_id;
  bool used = false;
};

static grpc::Status to_status(const Error& error) {
  switch (error.code) {
    case Code::invalid_argument:
      return {grpc::StatusCode::INVALID_ARGUMENT, error.message};
    case Code::resource_exhausted:
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, error.message};
    case Code::permission_denied:
      return {grpc::StatusCode::PERMISSION_DENIED, error.message};
    case Code::cancelled:
      return {grpc::StatusCode::CANCELLED, error.message};
    case Code::closed:
    case Code::unavailable:
      return {grpc::StatusCode::UNAVAILABLE, error.message};
    default:
      return {grpc::StatusCode::INTERNAL, error.message};
  }
}

/// One RPC, from the wait for a client on. Its functions run in serve()'s thread. It owns itself: `events` is
/// how many completions it still waits for once a client has called, and with the last it is gone.
class Service::Call {
 public:
  /// What completes; its address is the tag in the queue.
  struct Tag {
    Call* call;
    void (Call::*handler)();
  };

  Call(State& state, int events) : state_(state), events_(events) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  virtual ~Call() = default;

  virtual void on_received() = 0;
  virtual void on_done() { release(); }
  void on_sent() { release(); }

 protected:
  void release() {
    if (--events_ == 0) delete this;
  }

  State& state_;
  int events_;
  grpc::ServerContext context_;
  Tag received_{this, &Call::on_received};
  Tag done_{this, &Call::on_done};
  Tag sent_{this, &Call::on_sent};
};

class Service::StatusCall final : public Call {
 public:
  explicit StatusCall(State& state) : Call(state, 1) {
    state.service.RequestStatus(&context_, &request_, &responder_, state.queue.get(), state.queue.get(),
                                &received_);
  }

  void on_received() override {
    new StatusCall(state_);
    rpc::StatusMessage message;
    message.set_id(state_.run_id);
    message.set_code(rpc::READY);
    responder_.Finish(message, grpc::Status::OK, &sent_);
  }

 private:
  rpc::Empty request_;
  grpc::ServerAsyncResponseWriter<rpc::StatusMessage> responder_{&context_};
};

class Service::ExecuteCall final : public Call {
 public:
  explicit ExecuteCall(State& state) : Call(state, 2) {
    context_.AsyncNotifyWhenDone(&done_);
    state.service.RequestExecute(&context_, &request_, &responder_, state.queue.get(), state.queue.get(),
                                 &received_);
  }

  void on_received() override {
    new ExecuteCall(state_);
    if (state_.used) {
      const grpc::Status refused(grpc::StatusCode::FAILED_PRECONDITION,
                                 "this guest has been used already; every run needs a new one");
      return responder_.FinishWithError(refused, &sent_);
    }
    state_.used = true;
    state_.run_id = request_.id();
    const Result<> started = start();
    if (!started) responder_.FinishWithError(to_status(started.error()), &sent_);
  }

  void on_done() override {
    if (running_ && context_.IsCancelled()) state_.parts.supervisor.cancel();
    release();
  }

 private:
  Result<> start() {
    for (const auto& file : request_.files()) TRY(Workspace::check_name(file.filename()));
    Run run = TRY(make_run(request_, environ));
    for (const auto& file : request_.files()) {
      TRY(state_.parts.workspace.write(file.filename(), file.content()));
    }
    TRY(fill_input(state_.parts.input, request_.input()));
    // The guest's memory is the run's from here on. clear_*() would keep it.
    google::protobuf::RepeatedPtrField<rpc::FileModel>().Swap(request_.mutable_files());
    std::string().swap(*request_.mutable_input());
    running_ = true;
    return state_.parts.supervisor.start(std::move(run), [this](Result<std::vector<StepReport>> reports) {
      // The only code here that runs in the supervisor's thread. `this` lives until the answer is sent.
      if (!reports) return responder_.FinishWithError(to_status(reports.error()), &sent_);
      responder_.Finish(make_response(request_, *std::move(reports)), grpc::Status::OK, &sent_);
    });
  }

  rpc::ExecuteRequest request_;
  grpc::ServerAsyncResponseWriter<rpc::ExecuteResponse> responder_{&context_};
  bool running_ = false;
};

Service::Service(std::unique_ptr<State> state) : state_(std::move(state)) {}
Service::Service(Service&&) noexcept = default;
Service::~Service() = default;

Result<Service> Service::start(const ServiceParts& parts, Fd connection) {
  const int flags = ::fcntl(connection.get(), F_GETFL);
  if (flags < 0 || ::fcntl(connection.get(), F_SETFL, flags | O_NONBLOCK) < 0) return fail_errno("fcntl");
  std::unique_ptr<State> state(new State{.parts = parts});
  grpc::ServerBuilder builder;
  builder.RegisterService(&state->service);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  // Bandwidth is no question within a machine; the probe's pings only wake both sides.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  state->queue = builder.AddCompletionQueue();
  state->server = builder.BuildAndStart();
  if (!state->server) return fail(Code::internal, "gRPC does not start");
  new StatusCall(*state);
  new ExecuteCall(*state);
  grpc::AddInsecureChannelFromFd(state->server.get(), connection.release());
  return Service(std::move(state));
}

void Service::serve() {
  void* tag = nullptr;
  bool ok = false;
  while (state_->queue->Next(&tag, &ok)) {
    const auto* event = static_cast<Call::Tag*>(tag);
    // A failed send is as final as a good one; a call is never received in vain while the server runs.
    (event->call->*event->handler)();
  }
}

}  // namespace lambdo::agent
