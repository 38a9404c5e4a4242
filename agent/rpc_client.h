#pragma once

#include <google/protobuf/message_lite.h>

#include <memory>
#include <string_view>

#include "agent/http2.h"
#include "rpc/grpc_wire.h"

namespace lambdo::agent {

/// Makes unary gRPC calls on one connection, one at a time, and waits for each.
class RpcClient {
 public:
  static Result<std::unique_ptr<RpcClient>> create(Fd socket);
  RpcClient(const RpcClient&) = delete;
  RpcClient& operator=(const RpcClient&) = delete;

  /// Calls `method` ("/package.Service/Method"). timeout; closed: the peer went away; agent_protocol: no
  /// gRPC; unavailable: the peer's own error, with its message.
  Result<> call(std::string_view method, const google::protobuf::MessageLite& request,
                google::protobuf::MessageLite& response, long long timeout_ms);

 private:
  struct Callbacks;
  struct Call {
    int32_t stream = 0;
    std::string request;
    size_t sent = 0;
    rpc::MessageReader response;
    int status = -1;
    std::string message;
    bool ended = false;
  };

  RpcClient() = default;
  Result<> submit(std::string_view method);
  Result<> wait(long long deadline_ns);

  std::unique_ptr<Http2Connection> connection_;
  Call call_;
};

}  // namespace lambdo::agent
