#pragma once

#include <google/protobuf/message_lite.h>

#include <memory>
#include <string_view>

#include "agent/session_socket.h"
#include "rpc/client_session.h"

namespace lambdo::agent {

/// Makes unary gRPC calls to the host on one connection, one at a time, and waits for each.
class HostClient {
 public:
  static Result<std::unique_ptr<HostClient>> create(Fd socket);

  /// Calls `method` ("/package.Service/Method"). timeout; closed: the peer went away; agent_protocol: no
  /// gRPC; unavailable: the peer's own error, with its message.
  Result<> call(std::string_view method, const google::protobuf::MessageLite& request,
                google::protobuf::MessageLite& response, long long timeout_ms);

 private:
  HostClient(SessionSocket socket, std::unique_ptr<rpc::ClientSession> session)
      : socket_(std::move(socket)), session_(std::move(session)) {}

  /// Moves bytes until no call is open.
  Result<> wait(long long deadline_ns);

  SessionSocket socket_;
  std::unique_ptr<rpc::ClientSession> session_;
};

}  // namespace lambdo::agent
