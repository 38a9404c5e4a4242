#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "rpc/client_session.h"
#include "rpc/server_session.h"
#include "server_peer.h"

namespace lambdo::rpc {

/// How a call of a Loopback ended.
struct Outcome {
  int count = 0;  ///< how often that was told
  Result<CallAnswer> answer;

  /// Of an answer; -1 where there is none.
  [[nodiscard]] int status() const { return answer ? static_cast<int>(answer->status.code) : -1; }
};

/// A client's session and a server's with an EchoHandler, whose bytes run() moves.
struct Loopback {
  explicit Loopback(const SessionLimits& client_limits = {}, const SessionLimits& server_limits = {});

  /// Moves bytes both ways until none are left or a session gives an error.
  void run();
  /// Starts a call that run() carries out; REQUIREs that it can be started.
  Outcome& start(const std::string& method, std::string_view message);

  EchoHandler handler;
  std::unique_ptr<ServerSession> server;
  std::unique_ptr<ClientSession> client;
  Result<> server_received;
  Result<> client_received;
  std::deque<Outcome> outcomes;
  std::vector<int32_t> calls;  ///< numbers of those that were started
  size_t largest_output = 0;
  bool client_was_told = false;  ///< output_ready was called
};

/// All that a session has to send.
std::string output_of(Http2Session& session);

}  // namespace lambdo::rpc
