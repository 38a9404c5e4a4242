#include "agent/service.h"

#include <unistd.h>

#include <utility>

#include "agent/input.h"
#include "agent/run_request.h"
#include "lambdo.pb.h"

namespace lambdo::agent {

namespace proto = grpc_definitions;

void Service::on_call(rpc::ServerSession& session, int32_t call, std::string_view method,
                      std::string request) {
  if (method == "/grpc_definitions.LambdoAgentService/Status") return status(session, call);
  if (method == "/grpc_definitions.LambdoAgentService/Execute") {
    return execute(session, call, std::move(request));
  }
  if (method == "/grpc_definitions.LambdoAgentService/Configure") return configure(session, call, request);
  if (method == "/grpc_definitions.LambdoAgentService/PowerOff") {
    power_off_asked_ = true;
    session.finish(call, rpc::frame_message(proto::Empty()));
    return session.end_output();
  }
  session.finish(call, {rpc::StatusCode::unimplemented, "there is no method " + std::string(method)});
}

void Service::status(rpc::ServerSession& session, int32_t call) {
  proto::StatusMessage message;
  message.set_id(run_id_);
  message.set_code(proto::READY);
  session.finish(call, rpc::frame_message(message));
}

void Service::configure(rpc::ServerSession& session, int32_t call, const std::string& request) {
  if (!parts_.owns_machine) {
    return session.finish(
        call, {rpc::StatusCode::failed_precondition, "this guest's network is not its agent's to set"});
  }
  proto::ConfigureRequest parsed;
  if (!parsed.ParseFromString(request)) {
    return session.finish(call, {rpc::StatusCode::internal, "the request is no ConfigureRequest"});
  }
  const Result<> applied = configurator_.apply(parsed);
  if (!applied) return session.finish(call, rpc::to_status(applied.error()));
  session.finish(call, rpc::frame_message(proto::Empty()));
}

void Service::execute(rpc::ServerSession& session, int32_t call, std::string request) {
  proto::ExecuteRequest parsed;
  if (!parsed.ParseFromString(request)) {
    return session.finish(call, {rpc::StatusCode::internal, "the request is no ExecuteRequest"});
  }
  std::string().swap(request);
  if (used_) {
    return session.finish(call, {rpc::StatusCode::failed_precondition,
                                 "this guest has been used already; every run needs a new one"});
  }
  used_ = true;
  run_id_ = parsed.id();
  waiting_ = &session;
  call_ = call;
  const Result<> started = start(std::move(parsed));
  if (started) return;
  waiting_ = nullptr;
  session.finish(call, rpc::to_status(started.error()));
}

Result<> Service::start(proto::ExecuteRequest request) {
  for (const auto& file : request.files()) TRY(Workspace::check_name(file.filename()));
  Run run = TRY(make_run(request, environ));
  for (const auto& file : request.files()) {
    TRY(parts_.workspace.write(file.filename(), file.content()));
  }
  TRY(fill_input(parts_.input, request.input()));
  // The guest's memory is the run's from here on. clear_*() would keep it.
  google::protobuf::RepeatedPtrField<proto::FileModel>().Swap(request.mutable_files());
  std::string().swap(*request.mutable_input());
  return parts_.supervisor.start(
      std::move(run), [this, request = std::move(request)](Result<std::vector<StepReport>> reports) {
        finish(request, std::move(reports));
      });
}

void Service::finish(const proto::ExecuteRequest& request, Result<std::vector<StepReport>> reports) {
  rpc::ServerSession* session = std::exchange(waiting_, nullptr);
  if (session == nullptr) return;
  if (!reports) return session->finish(call_, rpc::to_status(reports.error()));
  session->finish(call_, rpc::frame_message(make_response(request, *std::move(reports))));
}

void Service::on_cancelled(rpc::ServerSession& session, int32_t call) {
  if (waiting_ != &session || call_ != call) return;
  waiting_ = nullptr;
  parts_.supervisor.cancel();
}

}  // namespace lambdo::agent
