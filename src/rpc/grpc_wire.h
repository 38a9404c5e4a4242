#pragma once

#include <google/protobuf/message_lite.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

/// gRPC's own layer on HTTP/2, as far as unary calls without compression need it (gRPC over HTTP/2,
/// doc/PROTOCOL-HTTP2.md of the gRPC project).
namespace lambdo::rpc {

/// gRPC's status codes (doc/statuscodes.md).
enum class StatusCode : int {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  not_found = 5,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
};

/// How a call ended; `message` is for people, and any bytes.
struct Status {
  StatusCode code = StatusCode::ok;
  std::string message;
};

/// How a failed call tells the client of `error`.
Status to_status(const Error& error);

/// The grpc-message header's encoding: all but printable ASCII, and "%", as %XX.
std::string percent_encode(std::string_view text);
/// Leaves what is no valid %XX as it is.
std::string percent_decode(std::string_view text);

/// A message with its prefix. It must be smaller than 4 GiB, and than the peer takes.
std::string frame_message(const google::protobuf::MessageLite& message);

/// Puts one message of at most `max_bytes` together from the bytes of a stream.
class MessageReader {
 public:
  explicit MessageReader(size_t max_bytes) : max_bytes_(max_bytes) {}

  /// False where the bytes are no single uncompressed message of at most `max_bytes`, which is known from the
  /// prefix; status() says why, and the rest may be dropped.
  bool append(std::string_view bytes);
  /// Whether the stream may end here. Else status() says why not.
  bool finish();
  [[nodiscard]] const Status& status() const { return status_; }
  /// The message, once.
  [[nodiscard]] std::string take() { return std::move(message_); }

 private:
  bool read_prefix();
  bool refuse(StatusCode code, std::string_view message);

  size_t max_bytes_;
  std::string prefix_;
  uint32_t len_bytes_ = 0;
  std::string message_;
  Status status_;
};

}  // namespace lambdo::rpc
