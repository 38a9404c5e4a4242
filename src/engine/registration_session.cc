#include "engine/registration_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>

namespace lambdo::engine {

namespace {

constexpr int kInternal = 13;
constexpr int kUnimplemented = 12;
constexpr int kResourceExhausted = 8;
// A byte that is 1 for a compressed message, and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
constexpr size_t kPrefixBytes = 5;
constexpr uint32_t kMaxStreams = 4;

std::string_view view(const uint8_t* bytes, size_t len_bytes) {
  return {reinterpret_cast<const char*>(bytes), len_bytes};
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  // nghttp2 takes pointers to what it does not change, and copies.
  return {.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          .value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          .namelen = name.size(),
          .valuelen = value.size(),
          .flags = NGHTTP2_NV_FLAG_NONE};
}

std::unexpected<Error> fail_http2(ssize_t error) {
  return fail(Code::agent_protocol, std::string("HTTP/2: ") + ::nghttp2_strerror(static_cast<int>(error)));
}

}  // namespace

/// nghttp2's callbacks, called from within receive() and take_output().
struct RegistrationSession::Callbacks {
  static RegistrationSession& self(void* user_data) { return *static_cast<RegistrationSession*>(user_data); }

  static Call* find(void* user_data, int32_t stream) {
    auto& open = self(user_data).open_;
    const auto found = open.find(stream);
    return found == open.end() ? nullptr : &found->second;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (++self(user_data).call_count_ > kMaxCalls) return NGHTTP2_ERR_CALLBACK_FAILURE;
    self(user_data).open_[frame->hd.stream_id];
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes,
                       const uint8_t* value, size_t value_bytes, uint8_t, void* user_data) {
    Call* call = find(user_data, frame->hd.stream_id);
    if (call == nullptr) return 0;
    if (view(name, name_bytes) == ":path") call->method = view(value, value_bytes);
    if (view(name, name_bytes) == "content-type") {
      call->is_grpc_post = view(value, value_bytes).starts_with("application/grpc");
    }
    return 0;
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* bytes, size_t len_bytes,
                     void* user_data) {
    Call* call = find(user_data, stream);
    if (call == nullptr || call->answered) return 0;
    call->body.append(view(bytes, len_bytes));
    if (call->body.size() > kPrefixBytes + kMaxMessageBytes) {
      self(user_data).refuse(stream, *call, {kResourceExhausted, "the message is too large"});
    }
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    Call* call = find(user_data, frame->hd.stream_id);
    if (call != nullptr && !call->answered) self(user_data).finish_call(frame->hd.stream_id, *call);
    return 0;
  }

  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type == NGHTTP2_GOAWAY) self(user_data).violated_ |= frame->goaway.error_code != 0;
    return 0;
  }

  static int on_stream_close(nghttp2_session*, int32_t stream, uint32_t, void* user_data) {
    self(user_data).open_.erase(stream);
    return 0;
  }

  static ssize_t read_answer(nghttp2_session* session, int32_t stream, uint8_t* to, size_t room,
                             uint32_t* flags, nghttp2_data_source*, void* user_data) {
    Call* call = find(user_data, stream);
    if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t count = std::min(room, call->answer.size() - call->sent);
    std::copy_n(call->answer.data() + call->sent, count, to);
    call->sent += count;
    if (call->sent < call->answer.size()) return static_cast<ssize_t>(count);
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const nghttp2_nv trailer = field("grpc-status", "0");
    if (::nghttp2_submit_trailer(session, stream, &trailer, 1) != 0) {
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return static_cast<ssize_t>(count);
  }
};

void RegistrationSession::SessionDeleter::operator()(nghttp2_session* session) const {
  ::nghttp2_session_del(session);
}

Result<std::unique_ptr<RegistrationSession>> RegistrationSession::create(RegistrationCalls& calls) {
  std::unique_ptr<RegistrationSession> created(new RegistrationSession(calls));
  nghttp2_session_callbacks* callbacks = nullptr;
  if (::nghttp2_session_callbacks_new(&callbacks) != 0) {
    return fail(Code::resource_exhausted, "nghttp2_session_callbacks_new");
  }
  ::nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::begin_headers);
  ::nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_data);
  ::nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::on_frame);
  ::nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::on_frame_send);
  ::nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_stream_close);
  nghttp2_session* session = nullptr;
  const int error = ::nghttp2_session_server_new(&session, callbacks, created.get());
  ::nghttp2_session_callbacks_del(callbacks);
  if (error != 0) return fail_http2(error);
  created->session_.reset(session);
  const std::array<nghttp2_settings_entry, 2> settings{
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kPrefixBytes + kMaxMessageBytes}}};
  const int submitted =
      ::nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  if (submitted != 0) return fail_http2(submitted);
  return created;
}

Result<> RegistrationSession::receive(std::string_view bytes) {
  received_bytes_ += bytes.size();
  if (received_bytes_ > kMaxBytes) {
    return fail(Code::resource_exhausted,
                "more than " + std::to_string(kMaxBytes) + " bytes on one connection");
  }
  const ssize_t taken = ::nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (call_count_ > kMaxCalls) {
    return fail(Code::resource_exhausted,
                "more than " + std::to_string(kMaxCalls) + " calls on one connection");
  }
  if (taken < 0) return fail_http2(taken);
  return {};
}

Result<std::string> RegistrationSession::take_output() {
  std::string output;
  while (true) {
    const uint8_t* frame = nullptr;
    const ssize_t count = ::nghttp2_session_mem_send(session_.get(), &frame);
    if (count < 0) return fail_http2(count);
    if (count == 0) return output;
    output.append(view(frame, static_cast<size_t>(count)));
  }
}

bool RegistrationSession::finished() const {
  return ::nghttp2_session_want_read(session_.get()) == 0;
}

RegistrationAnswer RegistrationSession::answer_of(const Call& call) {
  if (!call.is_grpc_post) return {kInternal, "the content-type is not application/grpc"};
  if (call.body.size() < kPrefixBytes) return {kInternal, "the stream ends before its message does"};
  if (call.body[0] != 0) return {kUnimplemented, "compressed messages are not understood"};
  size_t len_bytes = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) {
    len_bytes = len_bytes << 8 | static_cast<unsigned char>(call.body[i]);
  }
  if (len_bytes != call.body.size() - kPrefixBytes) return {kInternal, "the message's length is another"};
  return calls_.call(call.method, std::string_view(call.body).substr(kPrefixBytes));
}

void RegistrationSession::finish_call(int32_t stream, Call& call) {
  const RegistrationAnswer answer = answer_of(call);
  if (answer.grpc_status != 0) return refuse(stream, call, answer);
  call.answered = true;
  call.answer.assign(kPrefixBytes, '\0');
  for (size_t i = 1; i < kPrefixBytes; ++i) {
    call.answer[i] = static_cast<char>(answer.text.size() >> 8 * (kPrefixBytes - 1 - i));
  }
  call.answer += answer.text;
  const std::array<nghttp2_nv, 2> headers{field(":status", "200"), field("content-type", "application/grpc")};
  const nghttp2_data_provider source{.source = {.ptr = nullptr}, .read_callback = Callbacks::read_answer};
  // An error means that the stream or the session is gone.
  (void)::nghttp2_submit_response(session_.get(), stream, headers.data(), headers.size(), &source);
}

void RegistrationSession::refuse(int32_t stream, Call& call, const RegistrationAnswer& answer) {
  call.answered = true;
  call.body = {};
  const std::string status = std::to_string(answer.grpc_status);
  const std::array<nghttp2_nv, 4> headers{field(":status", "200"), field("content-type", "application/grpc"),
                                          field("grpc-status", status), field("grpc-message", answer.text)};
  (void)::nghttp2_submit_response(session_.get(), stream, headers.data(), headers.size(), nullptr);
}

}  // namespace lambdo::engine
