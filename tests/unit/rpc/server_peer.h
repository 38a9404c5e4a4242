#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpc/server_session.h"

namespace lambdo::rpc {

/// HTTP/2 frames by hand (RFC 9113, 4.1), for what no client library would send.
std::string frame(int type, int flags, uint32_t stream, std::string_view payload);
/// A header block of literals without indexing (RFC 7541, 6.2.2); names and values under 127 bytes.
std::string header_block(const std::vector<std::pair<std::string, std::string>>& fields);
/// The connection preface with empty SETTINGS.
std::string preface();
/// A message with its prefix.
std::string prefixed(std::string_view message);
/// HEADERS of a gRPC call.
std::string call_headers(uint32_t stream, const std::string& method, bool ends = false);
/// DATA with a length-prefixed message, ending the stream.
std::string call_message(uint32_t stream, std::string_view message);

/// What the server has sent on one stream.
struct Reply {
  std::string headers;  ///< "name: value\n" of all header blocks
  std::string data;
  bool ended = false;
  bool reset = false;
};

/// A handler with an echo and a call that waits, and refuses others.
class EchoHandler : public CallHandler {
 public:
  void on_call(ServerSession& session, int32_t call, std::string_view method, std::string request) override;
  void on_cancelled(ServerSession& session, int32_t call) override;

  std::vector<int32_t> waiting;
  std::vector<int32_t> cancelled;
};

/// A ServerSession with an EchoHandler, and the raw end of its connection.
class ServerPeer final : public EchoHandler {
 public:
  explicit ServerPeer(const SessionLimits& limits = {});
  ~ServerPeer();

  /// Gives the session `bytes` in pieces of `piece_bytes`, and takes its output after each.
  void send(std::string_view bytes, size_t piece_bytes = 1 << 20);
  /// All frames that the server sent so far on `stream`.
  Reply reply(uint32_t stream);
  /// Whether frames of `type` came on stream 0.
  bool sent_control(int type, int flags);
  ServerSession& session() { return *session_; }

  bool closed = false;  ///< as a transport would close the connection
  Result<> received;    ///< what the last receive() gave

 private:
  struct Frame {
    int type;
    int flags;
    uint32_t stream;
    std::string payload;
  };
  std::vector<Frame> frames();
  void take_output();
  void close(const Error& error);

  std::string output_;
  std::unique_ptr<ServerSession> session_;
};

}  // namespace lambdo::rpc
