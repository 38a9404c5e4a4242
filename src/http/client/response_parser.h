#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/error.h"
#include "http/message.h"

namespace lambdo::http {

/// Reads one response (RFC 9112) from bytes that come in pieces, skipping interim ones (1xx), and hands its
/// body on as it comes.
class ResponseParser {
 public:
  enum class Body {
    by_head,  ///< what the head says
    none,     ///< whatever the head says: the answer to HEAD, and a success to CONNECT (RFC 9112, 6.3)
  };

  ResponseParser(Body body, size_t max_head_bytes);
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  /// Takes bytes as they came and moves those of the body to the front of `bytes`; gives how many these are.
  /// Code::headers_too_large where head, interim responses and framing are over the cap, Code::io for what is
  /// not HTTP.
  Result<size_t> feed(std::span<std::byte> bytes);
  /// The connection has ended: the body's end too, where nothing else marks it; else Code::closed.
  Result<> finish();

  /// Whether a byte has come at all.
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] bool head_complete() const { return head_complete_; }
  [[nodiscard]] bool complete() const { return complete_; }
  /// Whether something came behind the response.
  [[nodiscard]] bool has_surplus() const { return has_surplus_; }
  /// Once complete: whether another request may follow on the connection.
  [[nodiscard]] bool keep_alive() const { return keep_alive_ && !has_surplus_; }

  // Once the head is complete:
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] const Headers& headers() const { return headers_; }
  /// The body's length, where the head tells it.
  [[nodiscard]] std::optional<uint64_t> content_length() const { return content_length_; }

 private:
  struct Callbacks;

  bool count_framing(size_t len);
  int end_header();
  int end_head();
  int end_message();

  Body body_;
  size_t max_head_bytes_;
  llhttp_t llhttp_{};
  int status_ = 0;
  Headers headers_;
  std::optional<uint64_t> content_length_;
  std::string header_name_;
  std::string header_value_;
  size_t head_bytes_ = 0;     ///< of all heads and trailers
  size_t framing_bytes_ = 0;  ///< all but bodies, since the last byte of one
  std::byte* body_begin_ = nullptr;
  size_t body_bytes_ = 0;  ///< of this feed
  std::string refusal_;
  bool too_large_ = false;
  bool started_ = false;
  bool head_complete_ = false;
  bool complete_ = false;
  bool keep_alive_ = false;
  bool has_surplus_ = false;
};

}  // namespace lambdo::http
