#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/message.h"
#include "http/server/line_guard.h"
#include "http/server/request_rules.h"

namespace lambdo::http {

struct ParserLimits {
  size_t max_header_bytes =
      16 << 10;  ///< request line and headers; trailers and chunk extensions again as much
  size_t max_headers = 100;
  size_t max_body_bytes = 16 << 20;
};

/// Reads one request at a time from bytes that come in pieces of any size: llhttp in strict mode, with
/// LineGuard before it and the rules of check_request after it. Body bytes are kept in the request.
class RequestParser {
 public:
  enum class State {
    needs_more,        ///< all bytes were taken and more are needed
    headers_complete,  ///< the head is valid and a body follows; go on feeding
    message_complete,  ///< the request is whole; `reset` before the next
    error,             ///< answer `refusal` and close: where the next request starts is unknown
  };

  /// `request` is filled in place and lives as long as the parser.
  RequestParser(ParserLimits limits, Request& request);
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  /// Reads bytes and gives how many it took: all of them, or those up to the end of the head where a body
  /// follows, of the message, or of what could be read.
  size_t feed(std::string_view bytes);
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] const Refusal& refusal() const { return refusal_; }
  /// Whether the request has begun: more came than the empty lines that may stand before it.
  [[nodiscard]] bool started() const { return guard_.started(); }
  /// Whether the head is complete, so that what is missing is the body.
  [[nodiscard]] bool in_body() const { return phase_ != Phase::head; }
  /// Forgets the request and expects the next.
  void reset();

 private:
  enum class Phase { head, fixed_body, chunked_body };
  struct Callbacks;

  size_t feed_head(std::string_view bytes);
  size_t feed_fixed(std::string_view bytes);
  size_t feed_chunked(std::string_view bytes);
  size_t execute(std::string_view bytes);
  void refuse(int status, Code code, std::string message);
  void refuse_llhttp(llhttp_errno_t error);
  bool check_framing(const char* end);

  int end_header();
  int end_head();
  int take_body(std::string_view data);

  ParserLimits limits_;
  Request* request_;
  llhttp_t llhttp_{};
  LineGuard guard_;
  Phase phase_ = Phase::head;
  State state_ = State::needs_more;
  Refusal refusal_;
  std::string header_name_;
  std::string header_value_;
  size_t head_bytes_ = 0;
  size_t trailers_ = 0;
  uint64_t body_left_bytes_ = 0;         ///< of a fixed body
  const char* framing_begin_ = nullptr;  ///< within the bytes being fed: not yet seen by the guard
};

}  // namespace lambdo::http
