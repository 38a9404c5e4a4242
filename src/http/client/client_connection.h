#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "reactor/stream.h"

namespace lambdo::http {

/// A connection to a server, or through a proxy to it, on which one request at a time is made.
struct ClientConnection {
  std::unique_ptr<reactor::Stream> stream;
  int socket = -1;  ///< below `stream`, which owns it
  bool peer_is_private = false;
  bool used = false;          ///< whether a response has come on it
  int64_t kept_until_ns = 0;  ///< while it is kept: when to end it
};

/// Whether a kept connection can still be used: false where the server has ended it, or sent what nobody
/// asked for.
bool is_quiet(const ClientConnection& connection);

}  // namespace lambdo::http
