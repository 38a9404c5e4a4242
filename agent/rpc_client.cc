#include "agent/rpc_client.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/syscalls.h"
#include "base/text.h"

namespace lambdo::agent {

/// nghttp2's callbacks; all are about the one call.
struct RpcClient::Callbacks {
  static Call* find(void* user_data, int32_t stream) {
    Call& call = static_cast<RpcClient*>(user_data)->call_;
    return call.stream == stream && !call.ended ? &call : nullptr;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes,
                       const uint8_t* value, size_t value_bytes, uint8_t, void* user_data) {
    Call* call = find(user_data, frame->hd.stream_id);
    if (call == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_bytes);
    const std::string_view text(reinterpret_cast<const char*>(value), value_bytes);
    if (key == "grpc-status")
      call->status = static_cast<int>(std::min<uint64_t>(parse_uint(text).value_or(2), 99));
    if (key == "grpc-message") call->message = rpc::percent_decode(text);
    return 0;
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* bytes, size_t len_bytes,
                     void* user_data) {
    Call* call = find(user_data, stream);
    if (call != nullptr) call->response.append({reinterpret_cast<const char*>(bytes), len_bytes});
    return 0;
  }

  static int on_stream_close(nghttp2_session*, int32_t stream, uint32_t, void* user_data) {
    if (Call* call = find(user_data, stream)) call->ended = true;
    return 0;
  }

  static ssize_t read_request(nghttp2_session*, int32_t, uint8_t* to, size_t room, uint32_t* flags,
                              nghttp2_data_source*, void* user_data) {
    Call& call = static_cast<RpcClient*>(user_data)->call_;
    const size_t count = std::min(room, call.request.size() - call.sent);
    std::copy_n(call.request.data() + call.sent, count, to);
    call.sent += count;
    if (call.sent == call.request.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  }
};

Result<std::unique_ptr<RpcClient>> RpcClient::create(Fd socket) {
  nghttp2_session_callbacks* raw = nullptr;
  if (::nghttp2_session_callbacks_new(&raw) != 0) {
    return fail(Code::resource_exhausted, "nghttp2_session_callbacks_new");
  }
  const Http2Callbacks callbacks(raw);
  ::nghttp2_session_callbacks_set_on_header_callback(raw, Callbacks::on_header);
  ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, Callbacks::on_data);
  ::nghttp2_session_callbacks_set_on_stream_close_callback(raw, Callbacks::on_stream_close);
  std::unique_ptr<RpcClient> client(new RpcClient);
  client->connection_ = std::make_unique<Http2Connection>(TRY(
      Http2Connection::create(std::move(socket), Http2Connection::Side::client, callbacks, client.get())));
  return client;
}

Result<> RpcClient::submit(std::string_view method) {
  const std::array<nghttp2_nv, 6> headers{
      header(":method", "POST"),      header(":scheme", "http"), header(":path", method),
      header(":authority", "lambdo"), header("te", "trailers"),  header("content-type", "application/grpc")};
  const nghttp2_data_provider source{.source = {.ptr = nullptr}, .read_callback = Callbacks::read_request};
  call_.stream = ::nghttp2_submit_request(connection_->session(), nullptr, headers.data(), headers.size(),
                                          &source, nullptr);
  if (call_.stream < 0) return fail(Code::agent_protocol, ::nghttp2_strerror(call_.stream));
  return {};
}

Result<> RpcClient::wait(long long deadline_ns) {
  while (true) {
    const bool blocked = TRY(connection_->flush());
    if (call_.ended) return {};
    const long long left_ms = (deadline_ns - sys::monotonic_ns()) / 1'000'000;
    if (left_ms <= 0) return fail(Code::timeout, "no answer in time");
    pollfd ready{connection_->fd(), static_cast<short>(blocked ? POLLIN | POLLOUT : POLLIN), 0};
    if (::poll(&ready, 1, static_cast<int>(std::min(left_ms, 1000LL))) < 0 && errno != EINTR) {
      return fail_errno("poll");
    }
    if ((ready.revents & ~POLLOUT) != 0) TRY(connection_->receive());
  }
}

Result<> RpcClient::call(std::string_view method, const google::protobuf::MessageLite& request,
                         google::protobuf::MessageLite& response, long long timeout_ms) {
  call_ = Call{.request = rpc::frame_message(request)};
  TRY(submit(method));
  TRY(wait(sys::monotonic_ns() + timeout_ms * 1'000'000));
  if (call_.status > 0) {
    return fail(Code::unavailable,
                call_.message.empty() ? "gRPC status " + std::to_string(call_.status) : call_.message);
  }
  if (call_.status < 0) return fail(Code::agent_protocol, "the call ended without a gRPC status");
  if (!call_.response.finish()) return fail(Code::agent_protocol, call_.response.status().message);
  if (!response.ParseFromString(call_.response.take())) {
    return fail(Code::agent_protocol, "the answer is no " + response.GetTypeName());
  }
  return {};
}

}  // namespace lambdo::agent
