#pragma once

#include <liburing.h>

#include <array>
#include <cstdint>

/// How the reactor's ring is set up and what it submits: for the reactor, for the restrictions on its ring
/// and for the probe that tells whether this kernel has all of it.
namespace lambdo::reactor {

/// DEFER_TASKRUN keeps completion work inside the one io_uring_enter(2) of a turn (Linux 6.1), TASKRUN_FLAG
/// tells without a system call whether there is any.
inline constexpr unsigned kSetupFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;

struct RingOperation {
  uint8_t opcode;
  const char* name;  ///< for people
};

/// What operations.cc, the multishot forms of listener and receivers, cancelling and the frames of a TAP
/// submit.
inline constexpr std::array<RingOperation, 12> kRingOperations = {{
    {IORING_OP_READ, "read"},
    {IORING_OP_WRITE, "write"},
    {IORING_OP_READV, "readv"},
    {IORING_OP_WRITEV, "writev"},
    {IORING_OP_RECV, "recv"},
    {IORING_OP_SEND, "send"},
    {IORING_OP_RECVMSG, "recvmsg"},
    {IORING_OP_SENDMSG, "sendmsg"},
    {IORING_OP_ACCEPT, "accept"},
    {IORING_OP_CONNECT, "connect"},
    {IORING_OP_POLL_ADD, "poll"},
    {IORING_OP_ASYNC_CANCEL, "cancel"},
}};

}  // namespace lambdo::reactor
