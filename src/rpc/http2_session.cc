#include "rpc/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/check.h"

namespace lambdo::rpc {

/// What a header field counts for beside its bytes (RFC 9113, 6.5.2).
static constexpr size_t kFieldOverheadBytes = 32;

static std::string_view view(const uint8_t* bytes, size_t len_bytes) {
  return {reinterpret_cast<const char*>(bytes), len_bytes};
}

/// nghttp2_nv has pointers to non-const bytes, but nghttp2 copies names and values and changes neither.
static std::vector<nghttp2_nv> native(std::span<const HeaderField> fields) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  std::vector<nghttp2_nv> result;
  for (const auto& [name, value] : fields) {
    result.push_back({.name = bytes(name),
                      .value = bytes(value),
                      .namelen = name.size(),
                      .valuelen = value.size(),
                      .flags = NGHTTP2_NV_FLAG_NONE});
  }
  return result;
}

static std::unexpected<Error> fail_http2(ssize_t error) {
  return fail(Code::agent_protocol, std::string("HTTP/2: ") + ::nghttp2_strerror(static_cast<int>(error)));
}

std::string_view http2_error_name(uint32_t code) {
  return ::nghttp2_http2_strerror(code);
}

/// nghttp2's callbacks, called from within receive() and take_output(). None may ask nghttp2 for output.
struct Http2Session::Callbacks {
  static Http2Session& self(void* user_data) { return *static_cast<Http2Session*>(user_data); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    return self(user_data).on_request(frame->hd.stream_id) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes,
                       const uint8_t* value, size_t value_bytes, uint8_t, void* user_data) {
    Stream* stream = self(user_data).find(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    stream->header_bytes += name_bytes + value_bytes + kFieldOverheadBytes;
    if (stream->header_bytes > self(user_data).limits_.max_header_bytes) {
      self(user_data).on_headers_too_large(frame->hd.stream_id);
      // nghttp2 resets the stream and calls nothing for the rest of the header block.
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    self(user_data).on_header(frame->hd.stream_id, view(name, name_bytes), view(value, value_bytes));
    return 0;
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* bytes, size_t len_bytes,
                     void* user_data) {
    if (self(user_data).find(stream) != nullptr) self(user_data).on_data(stream, view(bytes, len_bytes));
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    if (self(user_data).find(frame->hd.stream_id) != nullptr) {
      self(user_data).on_end_of_stream(frame->hd.stream_id);
    }
    return 0;
  }

  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type == NGHTTP2_GOAWAY) self(user_data).violated_ |= frame->goaway.error_code != 0;
    return 0;
  }

  static int on_frame_not_send(nghttp2_session*, const nghttp2_frame* frame, int, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    if (self(user_data).find(frame->hd.stream_id) != nullptr) {
      self(user_data).on_request_not_sent(frame->hd.stream_id);
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session*, int32_t stream, uint32_t error_code, void* user_data) {
    if (self(user_data).find(stream) != nullptr) self(user_data).on_stream_closed(stream, error_code);
    return 0;
  }

  static ssize_t read_message(nghttp2_session* session, int32_t id, uint8_t* to, size_t room, uint32_t* flags,
                              nghttp2_data_source*, void* user_data) {
    Stream* stream = self(user_data).find(id);
    if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const size_t count = std::min(room, stream->outgoing.size() - stream->sent_bytes);
    std::copy_n(stream->outgoing.data() + stream->sent_bytes, count, to);
    stream->sent_bytes += count;
    if (stream->sent_bytes < stream->outgoing.size()) return static_cast<ssize_t>(count);
    stream->outgoing = {};
    stream->sent_bytes = 0;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    const std::vector<nghttp2_nv> trailers = native(self(user_data).trailers());
    if (trailers.empty()) return static_cast<ssize_t>(count);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    if (::nghttp2_submit_trailer(session, id, trailers.data(), trailers.size()) != 0) {
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return static_cast<ssize_t>(count);
  }

  struct Deleter {
    void operator()(nghttp2_session_callbacks* callbacks) const {
      ::nghttp2_session_callbacks_del(callbacks);
    }
  };

  static Result<std::unique_ptr<nghttp2_session_callbacks, Deleter>> create() {
    nghttp2_session_callbacks* raw = nullptr;
    if (::nghttp2_session_callbacks_new(&raw) != 0) {
      return fail(Code::resource_exhausted, "nghttp2_session_callbacks_new");
    }
    ::nghttp2_session_callbacks_set_on_begin_headers_callback(raw, begin_headers);
    ::nghttp2_session_callbacks_set_on_header_callback(raw, on_header);
    ::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, on_data);
    ::nghttp2_session_callbacks_set_on_frame_recv_callback(raw, on_frame);
    ::nghttp2_session_callbacks_set_on_frame_send_callback(raw, on_frame_send);
    ::nghttp2_session_callbacks_set_on_frame_not_send_callback(raw, on_frame_not_send);
    ::nghttp2_session_callbacks_set_on_stream_close_callback(raw, on_stream_close);
    return std::unique_ptr<nghttp2_session_callbacks, Deleter>(raw);
  }
};

void Http2Session::SessionDeleter::operator()(nghttp2_session* session) const {
  ::nghttp2_session_del(session);
}

Http2Session::~Http2Session() = default;

Result<> Http2Session::open(Side side) {
  const auto callbacks = TRY(Callbacks::create());
  nghttp2_option* option = nullptr;
  if (::nghttp2_option_new(&option) != 0) return fail(Code::resource_exhausted, "nghttp2_option_new");
  // nghttp2 would keep closed streams for priorities (RFC 7540, 5.3), which are not used here.
  ::nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* raw = nullptr;
  const int error = side == Side::server ? ::nghttp2_session_server_new2(&raw, callbacks.get(), this, option)
                                         : ::nghttp2_session_client_new2(&raw, callbacks.get(), this, option);
  ::nghttp2_option_del(option);
  if (error != 0) return fail_http2(error);
  session_.reset(raw);
  // A server opens no streams at its client. The last entry is a client's to send (RFC 9113, 6.5.2).
  const bool is_server = side == Side::server;
  const std::array<nghttp2_settings_entry, 3> settings{
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, is_server ? limits_.max_open_calls : 0},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<uint32_t>(limits_.stream_window_bytes)},
       {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}}};
  if (const int submitted = ::nghttp2_submit_settings(raw, NGHTTP2_FLAG_NONE, settings.data(),
                                                      settings.size() - (is_server ? 1 : 0));
      submitted != 0) {
    return fail_http2(submitted);
  }
  if (const int set =
          ::nghttp2_session_set_local_window_size(raw, NGHTTP2_FLAG_NONE, 0, limits_.connection_window_bytes);
      set != 0) {
    return fail_http2(set);
  }
  return {};
}

Result<> Http2Session::receive(std::string_view bytes) {
  CHECK(!busy_);
  received_bytes_ += bytes.size();
  if (received_bytes_ > limits_.max_received_bytes) {
    return fail(Code::resource_exhausted,
                "more than " + std::to_string(limits_.max_received_bytes) + " bytes on one connection");
  }
  busy_ = true;
  const ssize_t taken = ::nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  busy_ = false;
  if (failure_) return std::unexpected(*failure_);
  if (taken < 0) return fail_http2(taken);
  return {};
}

Result<> Http2Session::take_output(std::string& output) {
  CHECK(!busy_);
  while (output.size() < kOutputBytes) {
    const uint8_t* frame = nullptr;
    busy_ = true;
    const ssize_t count = ::nghttp2_session_mem_send(session_.get(), &frame);
    busy_ = false;
    if (count < 0) return fail_http2(count);
    if (count == 0) break;
    output.append(view(frame, static_cast<size_t>(count)));
  }
  return {};
}

bool Http2Session::finished() const {
  return ::nghttp2_session_want_read(session_.get()) == 0;
}

Result<int32_t> Http2Session::submit_request(std::span<const HeaderField> fields) {
  const std::vector<nghttp2_nv> headers = native(fields);
  const nghttp2_data_provider source{.source = {.ptr = nullptr}, .read_callback = Callbacks::read_message};
  const int32_t stream =
      ::nghttp2_submit_request(session_.get(), nullptr, headers.data(), headers.size(), &source, nullptr);
  if (stream < 0) return fail_http2(stream);
  return stream;
}

void Http2Session::submit_response(int32_t stream, std::span<const HeaderField> fields, bool has_message) {
  const std::vector<nghttp2_nv> headers = native(fields);
  const nghttp2_data_provider source{.source = {.ptr = nullptr}, .read_callback = Callbacks::read_message};
  (void)::nghttp2_submit_response(session_.get(), stream, headers.data(), headers.size(),
                                  has_message ? &source : nullptr);
}

void Http2Session::cancel_stream(int32_t stream) {
  (void)::nghttp2_submit_rst_stream(session_.get(), NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
}

void Http2Session::tell_output() {
  if (!busy_ && output_ready_) output_ready_();
}

}  // namespace lambdo::rpc
