#include "agent/http2.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>

#include "base/sockets.h"

namespace lambdo::agent {

static constexpr size_t kIncomingBytes = 64 << 10;
/// Frames are gathered into writes of about this size; a frame has 16 KiB at most.
static constexpr size_t kOutgoingBytes = 64 << 10;
static constexpr uint32_t kMaxStreams = 16;

nghttp2_nv header(std::string_view name, std::string_view value) {
  // nghttp2 takes pointers to what it does not change.
  return {.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          .value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          .namelen = name.size(),
          .valuelen = value.size(),
          .flags = NGHTTP2_NV_FLAG_NONE};
}

static std::unexpected<Error> fail_http2(std::string_view what, ssize_t error) {
  return fail(Code::agent_protocol, std::string(what) + ": " + ::nghttp2_strerror(static_cast<int>(error)));
}

Http2Connection::Http2Connection(Fd socket, Session session)
    : socket_(std::move(socket)),
      session_(std::move(session)),
      incoming_(std::make_unique_for_overwrite<char[]>(kIncomingBytes)) {}

Result<Http2Connection> Http2Connection::create(Fd socket, Side side, const Http2Callbacks& callbacks,
                                                void* user_data) {
  TRY(sys::set_nonblocking(socket));
  nghttp2_option* option = nullptr;
  if (::nghttp2_option_new(&option) != 0) return fail(Code::resource_exhausted, "nghttp2_option_new");
  // Only priorities, which nobody uses here, need what is left of a closed stream.
  ::nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_session* raw = nullptr;
  const int error = side == Side::server
                        ? ::nghttp2_session_server_new2(&raw, callbacks.get(), user_data, option)
                        : ::nghttp2_session_client_new2(&raw, callbacks.get(), user_data, option);
  ::nghttp2_option_del(option);
  if (error != 0) return fail_http2("nghttp2_session_new", error);
  Session session(raw);
  const std::array<nghttp2_settings_entry, 3> settings{
      {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, side == Side::server ? kMaxStreams : 0},
       {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
       {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindowBytes}}};
  if (const int submitted =
          ::nghttp2_submit_settings(raw, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
      submitted != 0) {
    return fail_http2("SETTINGS", submitted);
  }
  if (const int set = ::nghttp2_session_set_local_window_size(raw, NGHTTP2_FLAG_NONE, 0, kWindowBytes);
      set != 0) {
    return fail_http2("window", set);
  }
  return Http2Connection(std::move(socket), std::move(session));
}

Result<> Http2Connection::receive() {
  const ssize_t count = ::recv(socket_.get(), incoming_.get(), kIncomingBytes, 0);
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return {};
  if (count < 0) return fail_errno("recv");
  if (count == 0) return fail(Code::closed, "the peer closed the connection");
  const ssize_t taken = ::nghttp2_session_mem_recv(
      session_.get(), reinterpret_cast<const uint8_t*>(incoming_.get()), static_cast<size_t>(count));
  if (taken < 0) return fail_http2("HTTP/2", taken);
  return {};
}

Result<> Http2Connection::collect() {
  outgoing_.clear();
  sent_ = 0;
  while (outgoing_.size() < kOutgoingBytes) {
    const uint8_t* frame = nullptr;
    const ssize_t count = ::nghttp2_session_mem_send(session_.get(), &frame);
    if (count < 0) return fail_http2("HTTP/2", count);
    if (count == 0) break;
    outgoing_.insert(outgoing_.end(), frame, frame + count);
  }
  return {};
}

Result<bool> Http2Connection::flush() {
  while (true) {
    if (sent_ == outgoing_.size()) TRY(collect());
    if (outgoing_.empty()) break;
    const ssize_t count =
        ::send(socket_.get(), outgoing_.data() + sent_, outgoing_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return true;
    if (count < 0) return fail_errno("send");
    sent_ += static_cast<size_t>(count);
  }
  if (::nghttp2_session_want_read(session_.get()) == 0) {
    return fail(Code::closed, "the connection came to its end");
  }
  return false;
}

}  // namespace lambdo::agent
