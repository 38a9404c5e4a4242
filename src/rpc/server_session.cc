#include "rpc/server_session.h"

#include <algorithm>
#include <utility>

namespace lambdo::rpc {

static constexpr std::string_view kContentType = "application/grpc";

Result<std::unique_ptr<ServerSession>> ServerSession::create(const SessionLimits& limits,
                                                             CallHandler& handler,
                                                             std::function<void()> output_ready) {
  std::unique_ptr<ServerSession> session(new ServerSession(limits, handler, std::move(output_ready)));
  TRY(session->open(Side::server));
  return session;
}

ServerSession::~ServerSession() {
  cancel_calls();
}

void ServerSession::end(const Error& /*error*/) {
  cancel_calls();
}

void ServerSession::cancel_calls() {
  for (auto& [stream, call] : std::exchange(calls_, {})) {
    if (call.phase == Call::Phase::running) handler_.on_cancelled(*this, stream);
  }
}

ServerSession::Call* ServerSession::find_call(int32_t stream) {
  const auto found = calls_.find(stream);
  return found == calls_.end() ? nullptr : &found->second;
}

size_t ServerSession::queued_bytes() const {
  size_t bytes = 0;
  for (const auto& [stream, call] : calls_) bytes += call.outgoing.size();
  return bytes;
}

bool ServerSession::on_request(int32_t stream) {
  if (++call_count_ > limits().max_calls) {
    fail_connection({Code::resource_exhausted, 0,
                     "more than " + std::to_string(limits().max_calls) + " calls on one connection"});
    return false;
  }
  calls_.try_emplace(stream, limits());
  return true;
}

void ServerSession::on_header(int32_t stream, std::string_view name, std::string_view value) {
  Call& call = *find_call(stream);
  if (name == ":method") call.is_post = value == "POST";
  if (name == ":path") call.method = value;
  if (name == "content-type") call.is_grpc = value.starts_with(kContentType);
}

void ServerSession::on_data(int32_t stream, std::string_view bytes) {
  Call& call = *find_call(stream);
  if (call.phase != Call::Phase::receiving) return;
  if (!call.incoming.append(bytes)) refuse(stream, call, "200", call.incoming.status());
}

void ServerSession::on_end_of_stream(int32_t stream) {
  Call& call = *find_call(stream);
  if (call.phase != Call::Phase::receiving) return;
  if (!call.is_post) return refuse(stream, call, "405", {StatusCode::internal, "not a POST request"});
  if (!call.is_grpc) {
    return refuse(stream, call, "415", {StatusCode::internal, "content-type is not application/grpc"});
  }
  if (!call.incoming.finish()) return refuse(stream, call, "200", call.incoming.status());
  call.phase = Call::Phase::running;
  // The call may be gone before the handler returns, and its members with it.
  const std::string method = std::move(call.method);
  handler_.on_call(*this, stream, method, call.incoming.take());
}

void ServerSession::on_stream_closed(int32_t stream, uint32_t /*reset_by*/) {
  const auto closed = calls_.extract(stream);
  if (closed.mapped().phase == Call::Phase::running) handler_.on_cancelled(*this, stream);
}

std::span<const HeaderField> ServerSession::trailers() const {
  static constexpr std::array<HeaderField, 1> kTrailers{{{"grpc-status", "0"}}};
  return kTrailers;
}

void ServerSession::finish(int32_t stream, std::string answer) {
  Call* call = find_call(stream);
  if (call == nullptr || call->phase != Call::Phase::running) return;
  if (answer.size() > limits().max_queued_bytes - std::min(queued_bytes(), limits().max_queued_bytes)) {
    return refuse(stream, *call, "200",
                  {StatusCode::resource_exhausted,
                   "an answer of " + std::to_string(answer.size()) + " bytes; at most " +
                       std::to_string(limits().max_queued_bytes) + " may wait to be sent"});
  }
  call->phase = Call::Phase::answered;
  call->outgoing = std::move(answer);
  const std::array<HeaderField, 2> headers{{{":status", "200"}, {"content-type", kContentType}}};
  submit_response(stream, headers, true);
  tell_output();
}

void ServerSession::finish(int32_t stream, const Status& status) {
  Call* call = find_call(stream);
  if (call == nullptr || call->phase != Call::Phase::running) return;
  refuse(stream, *call, "200", status);
}

/// "Trailers-Only": one HEADERS frame that ends the stream.
void ServerSession::refuse(int32_t stream, Call& call, std::string_view http_status, const Status& status) {
  call.phase = Call::Phase::answered;
  const std::string code = std::to_string(static_cast<int>(status.code));
  const std::string message = percent_encode(status.message);
  const std::array<HeaderField, 4> headers{{{":status", http_status},
                                            {"content-type", kContentType},
                                            {"grpc-status", code},
                                            {"grpc-message", message}}};
  submit_response(stream, headers, false);
  tell_output();
}

void ServerSession::end_output() {
  output_ended_ = true;
  tell_output();
}

}  // namespace lambdo::rpc
