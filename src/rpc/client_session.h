#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "rpc/http2_session.h"

namespace lambdo::rpc {

/// What the peer made of a call: its status, and the encoded message where that is ok.
struct CallAnswer {
  Status status;
  std::string message;
};

/// Makes unary gRPC calls on one connection, several at a time. What the peer sends is bounded by
/// SessionLimits.
///
/// The session has no clock: whoever makes a call keeps its deadline, and cancels the call when it has
/// passed.
class ClientSession final : public Http2Session {
 public:
  /// How a call ended, told once, from within receive(), take_output() or end(). An answer is the peer's
  /// word: any status, and bytes that may be no message of the right type. Errors: agent_protocol where the
  /// call ended without status, was reset, or its answer is not one message within the limits; closed where
  /// the peer takes no more calls; what end() was given.
  ///
  /// It may start and cancel calls.
  using Done = std::function<void(Result<CallAnswer>)>;

  /// `output_ready` is called when start() or cancel() queued something while receive() and take_output()
  /// were not running; it may call take_output(), and no more. Empty: nobody is told.
  static Result<std::unique_ptr<ClientSession>> create(const SessionLimits& limits,
                                                       std::function<void()> output_ready = {});
  /// Forgets the open calls: nobody is told how they end.
  ~ClientSession() override;

  /// Calls `method` ("/package.Service/Method"); `request` comes from frame_message(). The number of the
  /// call. resource_exhausted: as many calls or bytes wait as SessionLimits allow; closed: after end(). With
  /// an error `done` is not called.
  Result<int32_t> start(std::string_view method, std::string request, Done done);
  /// Resets the call's stream, which the server takes for the client's wish to end the call. `done` is not
  /// called any more. Does nothing where the call is no longer open.
  void cancel(int32_t call);
  [[nodiscard]] size_t open_calls() const { return calls_.size(); }

  /// Ends each open call with `error`.
  void end(const Error& error) override;

 private:
  struct Call : Stream {
    using Stream::Stream;
    Done done;
    std::optional<StatusCode> status;
    std::string status_message;
  };

  ClientSession(const SessionLimits& limits, std::function<void()> output_ready)
      : Http2Session(limits, std::move(output_ready)) {}

  Stream* find(int32_t stream) override { return find_call(stream); }
  void on_header(int32_t stream, std::string_view name, std::string_view value) override;
  void on_headers_too_large(int32_t stream) override;
  void on_data(int32_t stream, std::string_view bytes) override;
  void on_end_of_stream(int32_t stream) override;
  void on_stream_closed(int32_t stream, uint32_t reset_by) override;
  void on_request_not_sent(int32_t stream) override;

  Call* find_call(int32_t stream);
  [[nodiscard]] size_t queued_bytes() const;
  /// Ends the call with what has come for it; `without_status` says why where that is no status.
  void complete(int32_t stream, std::string_view without_status);
  /// Ends the call with an error, and resets its stream.
  void give_up(int32_t stream, Code code, std::string message);

  std::map<int32_t, Call> calls_;
  bool ended_ = false;
};

/// The message of a call that was answered with the status ok. unavailable: the peer's own error, with its
/// message; others as the call ended.
Result<std::string> message_of(Result<CallAnswer> answer);

}  // namespace lambdo::rpc
