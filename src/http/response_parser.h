#pragma once

#include <llhttp.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace lambdo::http {

struct ClientResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

/// Reads one response from bytes that come in pieces, skipping interim ones (1xx).
class ResponseParser {
 public:
  /// `request_method` decides whether a body follows. Head and body may take `max_bytes` each.
  ResponseParser(Method request_method, size_t max_bytes);
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  /// Code::payload_too_large over the cap, Code::io for what is not HTTP.
  Result<> feed(std::string_view bytes);
  /// The connection has ended: the body's end too, where nothing else marks it; else Code::closed.
  Result<> finish();
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] ClientResponse take() { return std::move(response_); }

 private:
  struct Callbacks;

  size_t max_bytes_;
  bool head_request_;
  llhttp_t llhttp_{};
  ClientResponse response_;
  std::string header_name_;
  std::string header_value_;
  size_t head_bytes_ = 0;
  bool too_large_ = false;
  bool in_body_ = false;
  bool complete_ = false;
};

}  // namespace lambdo::http
