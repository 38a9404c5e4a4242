#pragma once

#include <google/protobuf/message_lite.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

/// gRPC's own layer on HTTP/2, as far as unary calls without compression need it (gRPC over HTTP/2,
/// doc/PROTOCOL-HTTP2.md of the gRPC project).
namespace lambdo::rpc {

/// In a message's bytes, without the prefix.
constexpr size_t kMaxMessageBytes = 64 << 20;

/// gRPC's status codes (doc/statuscodes.md).
enum class RpcCode : int {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
};

struct RpcStatus {
  RpcCode code = RpcCode::ok;
  std::string message;
};

/// How a failed call tells `error`.
RpcStatus to_status(const Error& error);

/// The grpc-message header's encoding: all but printable ASCII, and "%", as %XX.
std::string percent_encode(std::string_view text);
/// Leaves what is no valid %XX as it is.
std::string percent_decode(std::string_view text);

/// A message with its prefix. What exceeds kMaxMessageBytes is the caller's to prevent.
std::string frame_message(const google::protobuf::MessageLite& message);

/// Puts one message together from the bytes of a stream.
class MessageReader {
 public:
  /// False where the bytes are no single uncompressed message of at most kMaxMessageBytes; status() says why,
  /// and the rest may be dropped.
  bool append(std::string_view bytes);
  /// Whether the stream may end here. Else status() says why not.
  bool finish();
  [[nodiscard]] const RpcStatus& status() const { return status_; }
  /// The message, once.
  [[nodiscard]] std::string take() { return std::move(message_); }

 private:
  bool read_prefix();
  bool refuse(RpcCode code, std::string_view message);

  std::string prefix_;
  uint32_t len_bytes_ = 0;
  std::string message_;
  RpcStatus status_;
};

}  // namespace lambdo::rpc
