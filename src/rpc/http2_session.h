#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "rpc/grpc_wire.h"
#include "rpc/session_limits.h"

struct nghttp2_session;

namespace lambdo::rpc {

struct HeaderField {
  std::string_view name;
  std::string_view value;
};

/// One HTTP/2 connection (RFC 9113) without its socket, by nghttp2: ServerSession and ClientSession are the
/// two sides. Bytes in, bytes out: the owner of the socket (the transport) gives receive() what has arrived
/// and sends what take_output() gives. For one thread. A session must not be destroyed from within its own
/// functions, nor from what they call.
class Http2Session {
 public:
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;
  virtual ~Http2Session();

  /// Takes in what has arrived, and handles the calls that this completes. resource_exhausted: a limit of the
  /// connection is passed; agent_protocol: the peer does not speak HTTP/2. After an error only take_output(),
  /// which may tell the peer why, and end() make sense.
  Result<> receive(std::string_view bytes);
  /// Appends what there is to send, until `output` has kOutputBytes or a little more. There may be more as
  /// long as something is appended.
  Result<> take_output(std::string& output);
  /// Whether the connection has come to its end, once all output was taken: nothing that arrives matters.
  [[nodiscard]] bool finished() const;
  /// Whether the output taken so far has a GOAWAY that says that the peer broke the rules (RFC 9113, 6.8).
  [[nodiscard]] bool violated() const { return violated_; }
  /// The transport's connection is gone, or is given up: ends all open calls, for the reason `error`.
  virtual void end(const Error& error) = 0;

 protected:
  enum class Side { server, client };

  /// A call's part that both sides have.
  struct Stream {
    explicit Stream(const SessionLimits& limits) : incoming(limits.max_message_bytes) {}

    size_t header_bytes = 0;  ///< received, as max_header_bytes counts them
    MessageReader incoming;
    std::string outgoing;   ///< the prefixed message; empty before it is there and after it was sent
    size_t sent_bytes = 0;  ///< of `outgoing`
  };

  Http2Session(const SessionLimits& limits, std::function<void()> output_ready)
      : limits_(limits), output_ready_(std::move(output_ready)) {}
  /// To be called once before all else; queues SETTINGS.
  Result<> open(Side side);

  // The functions that queue output. All may be called from within the functions that handle what came. None
  // reports an error that only means that the stream or the connection is gone.
  Result<int32_t> submit_request(std::span<const HeaderField> fields);
  void submit_response(int32_t stream, std::span<const HeaderField> fields, bool has_message);
  void cancel_stream(int32_t stream);
  /// To be called after a change from outside that queued output.
  void tell_output();
  /// Makes the receive() that is running return this error.
  void fail_connection(Error error) { failure_ = std::move(error); }

  // What has come. A stream that find() does not know is ignored.
  virtual Stream* find(int32_t stream) = 0;
  /// A request begins on a new stream; false after fail_connection().
  virtual bool on_request(int32_t /*stream*/) { return true; }
  virtual void on_header(int32_t stream, std::string_view name, std::string_view value) = 0;
  /// The stream's header fields pass max_header_bytes; the stream is reset.
  virtual void on_headers_too_large(int32_t /*stream*/) {}
  virtual void on_data(int32_t stream, std::string_view bytes) = 0;
  /// The peer sends nothing more on this stream.
  virtual void on_end_of_stream(int32_t stream) = 0;
  /// Nothing more happens on this stream. `reset_by` is the reset's error code (RFC 9113, 7), 0 where none.
  virtual void on_stream_closed(int32_t stream, uint32_t reset_by) = 0;
  /// A request of ours cannot be sent: the peer takes no more, or the connection ends.
  virtual void on_request_not_sent(int32_t /*stream*/) {}
  /// What follows a message that was sent; nothing: the message ends the stream.
  [[nodiscard]] virtual std::span<const HeaderField> trailers() const { return {}; }

  [[nodiscard]] const SessionLimits& limits() const { return limits_; }

 private:
  struct Callbacks;
  struct SessionDeleter {
    void operator()(nghttp2_session* session) const;
  };

  SessionLimits limits_;
  std::function<void()> output_ready_;
  std::unique_ptr<nghttp2_session, SessionDeleter> session_;
  uint64_t received_bytes_ = 0;
  std::optional<Error> failure_;
  bool busy_ = false;  ///< receive() or take_output() is running: nghttp2 must not be asked for output
  bool violated_ = false;
};

/// The name of an HTTP/2 error code (RFC 9113, 7).
std::string_view http2_error_name(uint32_t code);

}  // namespace lambdo::rpc
