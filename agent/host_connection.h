#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "agent/event_loop.h"
#include "agent/session_socket.h"
#include "rpc/server_session.h"

namespace lambdo::agent {

/// One connection of the host to the agent: the host's gRPC calls, served from the agent's event loop.
class HostConnection {
 public:
  /// `loop` and `handler` outlive the connection. `closed` is called once, from the loop, when the connection
  /// has ended; it may destroy the connection. Calls that were open are cancelled before, or by the
  /// destructor.
  static Result<std::unique_ptr<HostConnection>> create(EventLoop& loop, Fd socket, rpc::CallHandler& handler,
                                                        std::function<void()> closed);
  HostConnection(const HostConnection&) = delete;
  HostConnection& operator=(const HostConnection&) = delete;
  ~HostConnection();

 private:
  HostConnection(EventLoop& loop, SessionSocket socket, std::function<void()> closed)
      : loop_(loop), socket_(std::move(socket)), closed_(std::move(closed)) {}

  void handle(uint32_t events);
  void end(const Error& error);
  /// Sends what the session has queued. An error is left to the loop.
  void flush();
  /// After everything was sent: closes the sending side where the session wants that.
  void close_output_if_ended();

  EventLoop& loop_;
  SessionSocket socket_;
  std::function<void()> closed_;
  std::unique_ptr<rpc::ServerSession> session_;
  uint32_t events_ = 0;  ///< that the loop waits for
};

}  // namespace lambdo::agent
