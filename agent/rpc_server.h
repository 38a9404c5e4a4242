#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "agent/event_loop.h"
#include "agent/http2.h"
#include "rpc/grpc_wire.h"

namespace lambdo::agent {

class RpcServer;

/// What the calls of RpcServers do. A call is its server and its number there.
class RpcHandler {
 public:
  /// A client called `method` ("/package.Service/Method") with a whole request. Must be answered with
  /// server.finish(), now or later.
  virtual void on_call(RpcServer& server, int32_t call, std::string_view method, std::string request) = 0;
  /// The client no longer wants the answer or is gone; finish() does nothing from here on.
  virtual void on_cancelled(RpcServer& server, int32_t call) = 0;

 protected:
  ~RpcHandler() = default;
};

/// Serves unary gRPC calls on one connection, several at a time. What the client sends is bounded by
/// kMaxMessageBytes for each of 16 calls; whatever is no gRPC ends its call or the connection.
class RpcServer {
 public:
  /// `loop` and `handler` outlive the server. `closed` is called once, from the loop, when the connection has
  /// ended; it may destroy the server. Calls that were open are cancelled before, or by the destructor.
  static Result<std::unique_ptr<RpcServer>> create(EventLoop& loop, Fd socket, RpcHandler& handler,
                                                   std::function<void()> closed);
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;
  ~RpcServer();

  /// Answers a call. `answer` comes from rpc::frame_message().
  void finish(int32_t call, std::string answer);
  void finish(int32_t call, rpc::RpcStatus status);

  /// Sends what is queued and no more; the connection ends once the client has seen that and closed it.
  void close_after_flush();

 private:
  struct Callbacks;
  struct Call {
    enum class Phase { receiving, running, answered };
    Phase phase = Phase::receiving;
    bool is_post = false;
    bool is_grpc = false;
    std::string method;
    rpc::MessageReader request;
    std::string answer;
    size_t sent = 0;  ///< of `answer`
  };

  RpcServer(EventLoop& loop, RpcHandler& handler, std::function<void()> closed)
      : loop_(loop), handler_(handler), closed_(std::move(closed)) {}

  void handle(uint32_t events);
  void end();
  void cancel_calls();
  /// Sends what was queued; within a callback that waits for its end. An error is left to the loop.
  void flush();
  /// All of the request is there.
  void start(int32_t id, Call& call);
  void refuse(int32_t id, Call& call, std::string_view http_status, const rpc::RpcStatus& status);
  Call* find(int32_t id);

  EventLoop& loop_;
  RpcHandler& handler_;
  std::function<void()> closed_;
  std::unique_ptr<Http2Connection> connection_;
  std::map<int32_t, Call> calls_;
  bool receiving_ = false;  ///< nghttp2 must not be asked for output from its callbacks
  bool closing_ = false;
  uint32_t events_ = 0;  ///< that the loop waits for
};

}  // namespace lambdo::agent
