#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace lambdo::rpc {

/// In front of each message: a byte that is 1 for a compressed message, and the length, big-endian
/// ("Length-Prefixed-Message").
constexpr size_t kPrefixBytes = 5;
/// A frame's payload: HTTP/2's smallest maximum, which is never raised. A larger frame ends the connection.
constexpr size_t kMaxFrameBytes = 16 << 10;
/// Frames are gathered into outputs of about this size.
constexpr size_t kOutputBytes = 64 << 10;

/// What the peer of one connection can make a session keep or do. The defaults are those of host and agent
/// with each other; whoever expects less gives less.
struct SessionLimits {
  /// Calls open at a time. A server announces the number: a peer that exceeds it has its stream refused, or
  /// its connection ended once it has acknowledged the number (RFC 9113, 5.1.2). A client starts no more.
  uint32_t max_open_calls = 16;
  /// Calls that a server takes in a connection's whole life; one more ends the connection.
  uint64_t max_calls = std::numeric_limits<uint64_t>::max();
  /// Received in a connection's whole life; more ends the connection.
  uint64_t max_received_bytes = std::numeric_limits<uint64_t>::max();
  /// Names and values of all header fields of one call, and 32 bytes more for each field (RFC 9113, 6.5.2);
  /// more resets the call.
  size_t max_header_bytes = 64 << 10;
  /// Of a received message, without its prefix; a server answers more with RESOURCE_EXHAUSTED, a client
  /// cancels the call.
  size_t max_message_bytes = 64 << 20;
  /// Of all messages together that wait to be sent. A server answers a call whose answer exceeds it with
  /// RESOURCE_EXHAUSTED; a client does not start the call.
  size_t max_queued_bytes = (64 << 20) + kPrefixBytes;
  /// How much the peer may send ahead (flow control, RFC 9113, 5.2): on one stream, and on all together,
  /// which is HTTP/2's 65,535 bytes at least.
  int32_t stream_window_bytes = 4 << 20;
  int32_t connection_window_bytes = 4 << 20;
};

}  // namespace lambdo::rpc
