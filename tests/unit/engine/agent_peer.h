#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace lambdo::engine {

/// A TCP connection from `address`, one of the loopback network's, to a port of 127.0.0.1. Blocking, so that
/// a connection that was refused shows as an end of the stream.
Fd connect_from(const std::string& address, uint16_t port);

/// HTTP/2 frames by hand (RFC 9113, 4.1).
std::string http2_frame(int type, int flags, uint32_t stream, std::string_view payload);
/// The connection preface with empty SETTINGS.
std::string http2_preface();
/// A unary gRPC call with its whole request, on `stream`.
std::string grpc_call(uint32_t stream, const std::string& path, std::string_view message);
/// Register with this port, and Status, as they are encoded.
std::string register_call(uint32_t stream, uint32_t port);
std::string status_call(uint32_t stream, const std::string& id, int code);

/// The original agent of tests/original_agent, on an address of the loopback network.
class OriginalAgent {
 public:
  OriginalAgent(const std::string& address, uint16_t host_port, std::vector<std::string> more = {});
  OriginalAgent(const OriginalAgent&) = delete;
  OriginalAgent& operator=(const OriginalAgent&) = delete;
  ~OriginalAgent();

 private:
  pid_t pid_ = -1;
};

}  // namespace lambdo::engine
