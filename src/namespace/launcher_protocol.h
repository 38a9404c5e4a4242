#pragma once

#include <cstdint>

#include "base/error.h"
#include "namespace/sandbox.h"
#include "reactor/helper/message.h"

/// What the server and its launcher say to each other (reactor/helper/message.h).
namespace lambdo::namespaces {

using helper::Message;

struct MessageKind {
  enum : uint8_t {
    success = helper::kSuccess,  ///< numbers: three results
    failure = helper::kFailure,
    define = helper::kFirstOwnKind,  ///< numbers: see encode_spec
    launch,  ///< numbers: specification, sandbox; descriptors: the agent's socket, and, for a sandbox with a
             ///< network, its network namespace
    set_limits,  ///< numbers: sandbox, memory MiB, processes
    usage,       ///< numbers: sandbox
    destroy,     ///< numbers: sandbox
    stop,        ///< destroys all; the launcher exits after its reply
    exited,      ///< unsolicited; numbers: sandbox, wait status; texts: output
    ready,       ///< unsolicited, first; texts: warnings, what this machine cannot give
  };
};

/// The shapes of these kinds.
helper::Protocol launcher_protocol();

Message encode_spec(const SandboxSpec& spec);
Result<SandboxSpec> decode_spec(const Message& message);

}  // namespace lambdo::namespaces
