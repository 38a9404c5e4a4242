#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// What the agent's RPC server and client share of HTTP/2 (RFC 9113): an nghttp2 session on a descriptor.
namespace lambdo::agent {

/// How much a peer may send ahead, of a stream and of all together.
constexpr int32_t kWindowBytes = 4 << 20;

struct CallbacksDeleter {
  void operator()(nghttp2_session_callbacks* callbacks) const { ::nghttp2_session_callbacks_del(callbacks); }
};
using Http2Callbacks = std::unique_ptr<nghttp2_session_callbacks, CallbacksDeleter>;

/// A header field that nghttp2 copies.
nghttp2_nv header(std::string_view name, std::string_view value);

class Http2Connection {
 public:
  enum class Side { server, client };

  /// `socket` is a connected stream socket; it becomes non-blocking. The callbacks get `user_data`, which
  /// outlives the connection. Queues our SETTINGS.
  static Result<Http2Connection> create(Fd socket, Side side, const Http2Callbacks& callbacks,
                                        void* user_data);

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] nghttp2_session* session() { return session_.get(); }

  /// Takes in what has arrived, as far as one buffer holds it, and calls the callbacks. closed: the peer is
  /// gone; agent_protocol: it does not speak HTTP/2.
  Result<> receive();
  /// Sends what there is to send, until it would block; true where something is left. closed: the peer is
  /// gone, or after an error of the protocol the last frame was sent.
  Result<bool> flush();

 private:
  struct SessionDeleter {
    void operator()(nghttp2_session* session) const { ::nghttp2_session_del(session); }
  };
  using Session = std::unique_ptr<nghttp2_session, SessionDeleter>;

  Http2Connection(Fd socket, Session session);
  /// Moves frames from the session into `outgoing_` until that is well filled.
  Result<> collect();

  Fd socket_;
  Session session_;
  std::unique_ptr<char[]> incoming_;  ///< kIncomingBytes, touched as far as they are used
  std::vector<char> outgoing_;
  size_t sent_ = 0;  ///< of `outgoing_`
};

}  // namespace lambdo::agent
