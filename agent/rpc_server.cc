#include "agent/rpc_server.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

namespace lambdo::agent {

static constexpr std::string_view kContentType = "application/grpc";

static std::string_view view(const uint8_t* bytes, size_t len_bytes) {
  return {reinterpret_cast<const char*>(bytes), len_bytes};
}

/// nghttp2's callbacks. None may let nghttp2 produce output, so all leave that to flush().
struct RpcServer::Callbacks {
  static RpcServer& server(void* user_data) { return *static_cast<RpcServer*>(user_data); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) server(user_data).calls_[frame->hd.stream_id];
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes,
                       const uint8_t* value, size_t value_bytes, uint8_t, void* user_data) {
    Call* call = server(user_data).find(frame->hd.stream_id);
    if (call == nullptr) return 0;
    const std::string_view key = view(name, name_bytes);
    const std::string_view text = view(value, value_bytes);
    if (key == ":method") call->is_post = text == "POST";
    if (key == ":path") call->method = text;
    if (key == "content-type") call->is_grpc = text.starts_with(kContentType);
    return 0;
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* bytes, size_t len_bytes,
                     void* user_data) {
    Call* call = server(user_data).find(id);
    if (call == nullptr || call->phase != Call::Phase::receiving) return 0;
    if (!call->request.append(view(bytes, len_bytes))) {
      server(user_data).refuse(id, *call, "200", call->request.status());
    }
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Call* call = server(user_data).find(frame->hd.stream_id);
    if (call == nullptr || call->phase != Call::Phase::receiving) return 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) server(user_data).start(frame->hd.stream_id, *call);
    return 0;
  }

  static int on_stream_close(nghttp2_session*, int32_t id, uint32_t, void* user_data) {
    RpcServer& self = server(user_data);
    const Call* call = self.find(id);
    if (call == nullptr) return 0;
    const bool running = call->phase == Call::Phase::running;
    self.calls_.erase(id);
    if (running) self.handler_.on_cancelled(self, id);
    return 0;
  }

  static ssize_t read_answer(nghttp2_session* session, int32_t id, uint8_t* to, size_t room, uint32_t* flags,
                             nghttp2_data_source*, void* user_data) {
    Call* call = server(user_data).find(id);
    if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t count = std::min(room, call->answer.size() - call->sent);
    std::copy_n(call->answer.data() + call->sent, count, to);
    call->sent += count;
    if (call->sent < call->answer.size()) return static_cast<ssize_t>(count);
    call->answer = {};
    call->sent = 0;
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const nghttp2_nv trailer = header("grpc-status", "0");
    if (::nghttp2_submit_trailer(session, id, &trailer, 1) != 0) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return static_cast<ssize_t>(count);
  }

  static Result<Http2Callbacks> create() {
    nghttp2_session_callbacks* raw = nullptr;
    if (::nghttp2_session_callbacks_new(&raw) != 0) {
      return fail(Code::resource_exhausted, "nghttp2_session_callbacks_new");
    }
    ::nghttp2_session_callbacks_set_on_begin_headers_callback(raw, begin_headers);
    ::nghttp2_session_callbacks_set_on_header_callback(raw, on_header);
    ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, on_data);
    ::nghttp2_session_callbacks_set_on_frame_recv_callback(raw, on_frame);
    ::nghttp2_session_callbacks_set_on_stream_close_callback(raw, on_stream_close);
    return Http2Callbacks(raw);
  }
};

Result<std::unique_ptr<RpcServer>> RpcServer::create(EventLoop& loop, Fd socket, RpcHandler& handler,
                                                     std::function<void()> closed) {
  std::unique_ptr<RpcServer> server(new RpcServer(loop, handler, std::move(closed)));
  const Http2Callbacks callbacks = TRY(Callbacks::create());
  server->connection_ = std::make_unique<Http2Connection>(TRY(
      Http2Connection::create(std::move(socket), Http2Connection::Side::server, callbacks, server.get())));
  server->events_ = EPOLLIN;
  TRY(loop.watch(server->connection_->fd(), server->events_,
                 [self = server.get()](uint32_t events) { self->handle(events); }));
  server->flush();
  return server;
}

RpcServer::~RpcServer() {
  if (connection_) loop_.forget(connection_->fd());
  cancel_calls();
}

void RpcServer::cancel_calls() {
  for (auto& [id, call] : std::exchange(calls_, {})) {
    if (call.phase == Call::Phase::running) handler_.on_cancelled(*this, id);
  }
}

RpcServer::Call* RpcServer::find(int32_t id) {
  const auto found = calls_.find(id);
  return found == calls_.end() ? nullptr : &found->second;
}

void RpcServer::handle(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    receiving_ = true;
    const Result<> received = connection_->receive();
    receiving_ = false;
    if (!received) return end();
  }
  const Result<bool> blocked = connection_->flush();
  if (!blocked) return end();
  if (closing_ && !*blocked) ::shutdown(connection_->fd(), SHUT_WR);
  const uint32_t wanted = *blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
  if (wanted != events_ && loop_.change(connection_->fd(), wanted)) events_ = wanted;
}

void RpcServer::end() {
  loop_.forget(connection_->fd());
  cancel_calls();
  // It may destroy us.
  const auto closed = std::move(closed_);
  if (closed) closed();
}

void RpcServer::flush() {
  if (receiving_) return;
  const Result<bool> blocked = connection_->flush();
  if (blocked && !*blocked) {
    if (closing_) ::shutdown(connection_->fd(), SHUT_WR);
    return;
  }
  // The loop sends the rest, or meets the error.
  if (!blocked) ::shutdown(connection_->fd(), SHUT_RDWR);
  if (loop_.change(connection_->fd(), EPOLLIN | EPOLLOUT)) events_ = EPOLLIN | EPOLLOUT;
}

void RpcServer::close_after_flush() {
  closing_ = true;
  flush();
}

void RpcServer::start(int32_t id, Call& call) {
  if (!call.is_post) return refuse(id, call, "405", {rpc::RpcCode::internal, "not a POST request"});
  if (!call.is_grpc)
    return refuse(id, call, "415", {rpc::RpcCode::internal, "content-type is not application/grpc"});
  if (!call.request.finish()) return refuse(id, call, "200", call.request.status());
  call.phase = Call::Phase::running;
  // Copies: the handler may finish the call, and the answer's stream may then go.
  const std::string method = std::move(call.method);
  handler_.on_call(*this, id, method, call.request.take());
}

void RpcServer::finish(int32_t id, std::string answer) {
  Call* call = find(id);
  if (call == nullptr || call->phase != Call::Phase::running) return;
  call->phase = Call::Phase::answered;
  call->answer = std::move(answer);
  const std::array<nghttp2_nv, 2> headers{header(":status", "200"), header("content-type", kContentType)};
  const nghttp2_data_provider source{.source = {.ptr = nullptr}, .read_callback = Callbacks::read_answer};
  // An error means that the stream or the session is gone.
  (void)::nghttp2_submit_response(connection_->session(), id, headers.data(), headers.size(), &source);
  flush();
}

void RpcServer::finish(int32_t id, rpc::RpcStatus status) {
  Call* call = find(id);
  if (call == nullptr || call->phase != Call::Phase::running) return;
  refuse(id, *call, "200", status);
}

/// "Trailers-Only": one HEADERS frame that ends the stream.
void RpcServer::refuse(int32_t id, Call& call, std::string_view http_status, const rpc::RpcStatus& status) {
  call.phase = Call::Phase::answered;
  const std::string code = std::to_string(static_cast<int>(status.code));
  const std::string message = rpc::percent_encode(status.message);
  const std::array<nghttp2_nv, 4> headers{header(":status", http_status),
                                          header("content-type", kContentType), header("grpc-status", code),
                                          header("grpc-message", message)};
  (void)::nghttp2_submit_response(connection_->session(), id, headers.data(), headers.size(), nullptr);
  flush();
}

}  // namespace lambdo::agent
