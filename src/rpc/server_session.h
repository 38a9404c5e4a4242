#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "rpc/http2_session.h"

namespace lambdo::rpc {

class ServerSession;

/// What the calls of sessions do. A call is its session and its number there.
class CallHandler {
 public:
  /// A client called `method` ("/package.Service/Method") with a whole request, which is the peer's word.
  /// Must be answered with session.finish(), now or later.
  virtual void on_call(ServerSession& session, int32_t call, std::string_view method,
                       std::string request) = 0;
  /// The client no longer wants the answer or is gone; finish() does nothing from here on.
  virtual void on_cancelled(ServerSession& session, int32_t call) = 0;

 protected:
  ~CallHandler() = default;
};

/// Serves unary gRPC calls on one connection, several at a time. What the client sends is bounded by
/// SessionLimits; what is no gRPC ends its call or the connection.
class ServerSession final : public Http2Session {
 public:
  /// `handler` outlives the session. `output_ready` is called when finish() or end_output() queued something
  /// while receive() was not running; it may call take_output(), and no more. Empty: nobody is told.
  static Result<std::unique_ptr<ServerSession>> create(const SessionLimits& limits, CallHandler& handler,
                                                       std::function<void()> output_ready = {});
  /// Calls that are open are cancelled.
  ~ServerSession() override;

  /// Answers a call. `answer` comes from frame_message(). Does nothing where the call is no longer open.
  void finish(int32_t call, std::string answer);
  void finish(int32_t call, const Status& status);

  /// Asks the transport to close its sending side once all output is sent. The connection ends when the
  /// client has seen that and closed it.
  void end_output();
  [[nodiscard]] bool output_ended() const { return output_ended_; }

  /// Cancels the open calls.
  void end(const Error& error) override;

 private:
  struct Call : Stream {
    using Stream::Stream;
    enum class Phase { receiving, running, answered };
    Phase phase = Phase::receiving;
    bool is_post = false;
    bool is_grpc = false;
    std::string method;
  };

  ServerSession(const SessionLimits& limits, CallHandler& handler, std::function<void()> output_ready)
      : Http2Session(limits, std::move(output_ready)), handler_(handler) {}

  Stream* find(int32_t stream) override { return find_call(stream); }
  bool on_request(int32_t stream) override;
  void on_header(int32_t stream, std::string_view name, std::string_view value) override;
  void on_data(int32_t stream, std::string_view bytes) override;
  void on_end_of_stream(int32_t stream) override;
  void on_stream_closed(int32_t stream, uint32_t reset_by) override;
  [[nodiscard]] std::span<const HeaderField> trailers() const override;

  Call* find_call(int32_t stream);
  [[nodiscard]] size_t queued_bytes() const;
  void cancel_calls();
  void refuse(int32_t stream, Call& call, std::string_view http_status, const Status& status);

  CallHandler& handler_;
  std::map<int32_t, Call> calls_;
  uint64_t call_count_ = 0;
  bool output_ended_ = false;
};

}  // namespace lambdo::rpc
