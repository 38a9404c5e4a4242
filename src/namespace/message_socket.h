#pragma once

#include <optional>

#include "base/error.h"
#include "base/fd.h"
#include "namespace/message.h"

namespace lambdo::namespaces {

struct Received {
  Message message;
  Fd attached;  ///< the descriptor that came with it, if any
};

/// Blocking sending and receiving for the launcher and for the server before its reactor runs.
Result<> send_message(int socket, const Message& message);
/// nullopt at the end of the connection. Code::invalid_argument where the packet is no message; the next one
/// can be received then.
Result<std::optional<Received>> receive_message(int socket);

}  // namespace lambdo::namespaces
