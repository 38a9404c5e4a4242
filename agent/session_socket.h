#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "rpc/http2_session.h"

namespace lambdo::agent {

/// Moves bytes between a socket and an RPC session (src/rpc), without waiting for either.
class SessionSocket {
 public:
  /// `socket` is a connected stream socket; it becomes non-blocking.
  static Result<SessionSocket> create(Fd socket);

  [[nodiscard]] int fd() const { return socket_.get(); }

  /// Gives the session what has arrived, as far as one buffer holds it. closed: the peer is gone;
  /// agent_protocol: the peer does not speak HTTP/2; resource_exhausted: it passed a limit of the session.
  Result<> receive(rpc::Http2Session& session);
  /// Sends what the session has to send, until the socket would block; true where something is left. closed:
  /// the peer is gone, or the session has finished and its last frame was sent.
  Result<bool> flush(rpc::Http2Session& session);

 private:
  explicit SessionSocket(Fd socket);

  Fd socket_;
  std::unique_ptr<char[]> incoming_;  ///< kIncomingBytes, touched as far as they are used
  std::string outgoing_;
  size_t sent_ = 0;  ///< of `outgoing_`
};

}  // namespace lambdo::agent
