#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/rpc_server.h"

namespace lambdo::agent {

/// HTTP/2 frames by hand, for what no client library would send.
std::string frame(int type, int flags, uint32_t stream, std::string_view payload);
/// A header block of literals without indexing (RFC 7541, 6.2.2); names and values under 127 bytes.
std::string header_block(const std::vector<std::pair<std::string, std::string>>& fields);
/// The connection preface with empty SETTINGS.
std::string preface();
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

/// An RpcServer with an echo and a call that waits, and the raw end of its connection.
class RpcPeer final : public RpcHandler {
 public:
  RpcPeer();
  ~RpcPeer();

  /// Writes `bytes` in pieces of `piece_bytes`, letting the server handle each.
  void send(std::string_view bytes, size_t piece_bytes = 1 << 20);
  /// All frames that the server sent so far on `stream`.
  Reply reply(uint32_t stream);
  /// Whether frames of `type` came on stream 0.
  bool sent_control(int type, int flags);

  void on_call(RpcServer& server, int32_t call, std::string_view method, std::string request) override;
  void on_cancelled(RpcServer& server, int32_t call) override;

  bool closed = false;
  std::vector<int32_t> waiting;
  std::vector<int32_t> cancelled;
  RpcServer& server() { return *server_; }
  void run_loop();

 private:
  struct Frame {
    int type;
    int flags;
    uint32_t stream;
    std::string payload;
  };
  std::vector<Frame> frames();

  EventLoop loop_;
  Fd socket_;
  std::string received_;
  std::unique_ptr<RpcServer> server_;
};

}  // namespace lambdo::agent
