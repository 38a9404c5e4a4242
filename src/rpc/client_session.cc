#include "rpc/client_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/text.h"

namespace lambdo::rpc {

/// What a status is taken for that is no number, and the highest that is kept: gRPC has 17 codes.
static constexpr uint64_t kUnknownStatus = 2;
static constexpr uint64_t kMaxStatus = 99;

Result<std::unique_ptr<ClientSession>> ClientSession::create(const SessionLimits& limits,
                                                             std::function<void()> output_ready) {
  std::unique_ptr<ClientSession> session(new ClientSession(limits, std::move(output_ready)));
  TRY(session->open(Side::client));
  return session;
}

ClientSession::~ClientSession() = default;

ClientSession::Call* ClientSession::find_call(int32_t stream) {
  const auto found = calls_.find(stream);
  return found == calls_.end() ? nullptr : &found->second;
}

size_t ClientSession::queued_bytes() const {
  size_t bytes = 0;
  for (const auto& [stream, call] : calls_) bytes += call.outgoing.size();
  return bytes;
}

Result<int32_t> ClientSession::start(std::string_view method, std::string request, Done done) {
  if (ended_) return fail(Code::closed, "the connection has ended");
  if (calls_.size() >= limits().max_open_calls) {
    return fail(Code::resource_exhausted,
                "more than " + std::to_string(limits().max_open_calls) + " calls at a time");
  }
  if (request.size() > limits().max_queued_bytes - std::min(queued_bytes(), limits().max_queued_bytes)) {
    return fail(Code::resource_exhausted, "a request of " + std::to_string(request.size()) +
                                              " bytes; at most " + std::to_string(limits().max_queued_bytes) +
                                              " may wait to be sent");
  }
  const std::array<HeaderField, 6> headers{{{":method", "POST"},
                                            {":scheme", "http"},
                                            {":path", method},
                                            {":authority", "lambdo"},
                                            {"te", "trailers"},
                                            {"content-type", "application/grpc"}}};
  const int32_t stream = TRY(submit_request(headers));
  Call& call = calls_.try_emplace(stream, limits()).first->second;
  call.outgoing = std::move(request);
  call.done = std::move(done);
  tell_output();
  return stream;
}

void ClientSession::cancel(int32_t stream) {
  if (calls_.erase(stream) == 0) return;
  cancel_stream(stream);
  tell_output();
}

void ClientSession::end(const Error& error) {
  ended_ = true;
  // A call's end may cancel others.
  while (!calls_.empty()) calls_.extract(calls_.begin()).mapped().done(std::unexpected(error));
}

void ClientSession::complete(int32_t stream, std::string_view without_status) {
  Call call = std::move(calls_.extract(stream).mapped());
  if (!call.status) return call.done(fail(Code::agent_protocol, std::string(without_status)));
  if (*call.status != StatusCode::ok) {
    return call.done(CallAnswer{{*call.status, std::move(call.status_message)}, {}});
  }
  if (!call.incoming.finish()) return call.done(fail(Code::agent_protocol, call.incoming.status().message));
  call.done(CallAnswer{{}, call.incoming.take()});
}

void ClientSession::give_up(int32_t stream, Code code, std::string message) {
  const Done done = std::move(calls_.extract(stream).mapped().done);
  cancel_stream(stream);
  done(fail(code, std::move(message)));
}

void ClientSession::on_header(int32_t stream, std::string_view name, std::string_view value) {
  Call& call = *find_call(stream);
  if (name == "grpc-status") {
    call.status = static_cast<StatusCode>(std::min(parse_uint(value).value_or(kUnknownStatus), kMaxStatus));
  }
  if (name == "grpc-message") call.status_message = percent_decode(value);
}

void ClientSession::on_headers_too_large(int32_t stream) {
  give_up(stream, Code::agent_protocol,
          "the answer's headers have more than " + std::to_string(limits().max_header_bytes) + " bytes");
}

void ClientSession::on_data(int32_t stream, std::string_view bytes) {
  Call& call = *find_call(stream);
  if (!call.incoming.append(bytes)) give_up(stream, Code::agent_protocol, call.incoming.status().message);
}

void ClientSession::on_end_of_stream(int32_t stream) {
  // The peer has answered without having read the request: the rest of the request is for nobody.
  if (!find_call(stream)->outgoing.empty()) cancel_stream(stream);
  complete(stream, "the call ended without a gRPC status");
}

void ClientSession::on_stream_closed(int32_t stream, uint32_t reset_by) {
  complete(stream,
           "the call was reset (" + std::string(http2_error_name(reset_by)) + ") without a gRPC status");
}

void ClientSession::on_request_not_sent(int32_t stream) {
  const Done done = std::move(calls_.extract(stream).mapped().done);
  done(fail(Code::closed, "the peer takes no more calls"));
}

Result<std::string> message_of(Result<CallAnswer> answer) {
  auto [status, message] = TRY(std::move(answer));
  if (status.code == StatusCode::ok) return std::move(message);
  if (!status.message.empty()) return fail(Code::unavailable, std::move(status.message));
  return fail(Code::unavailable, "gRPC status " + std::to_string(static_cast<int>(status.code)));
}

}  // namespace lambdo::rpc
