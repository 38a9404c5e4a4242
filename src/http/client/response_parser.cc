#include "http/client/response_parser.h"

#include <cstring>

#include "base/text.h"

namespace lambdo::http {

struct ResponseParser::Callbacks {
  static ResponseParser& self(llhttp_t* llhttp) { return *static_cast<ResponseParser*>(llhttp->data); }

  static int on_status(llhttp_t* llhttp, const char*, size_t len) {
    return self(llhttp).count_framing(len) ? 0 : -1;
  }
  static int on_header_field(llhttp_t* llhttp, const char* at, size_t len) {
    if (!self(llhttp).count_framing(len)) return -1;
    self(llhttp).header_name_.append(at, len);
    return 0;
  }
  static int on_header_value(llhttp_t* llhttp, const char* at, size_t len) {
    if (!self(llhttp).count_framing(len)) return -1;
    self(llhttp).header_value_.append(at, len);
    return 0;
  }
  static int on_header_value_complete(llhttp_t* llhttp) { return self(llhttp).end_header(); }
  static int on_headers_complete(llhttp_t* llhttp) { return self(llhttp).end_head(); }
  static int on_body(llhttp_t* llhttp, const char* at, size_t len) {
    ResponseParser& parser = self(llhttp);
    // llhttp has read up to the end of this part, and the body so far is never longer than what it was in.
    std::memmove(parser.body_begin_ + parser.body_bytes_, at, len);
    parser.body_bytes_ += len;
    return 0;
  }
  static int on_message_complete(llhttp_t* llhttp) { return self(llhttp).end_message(); }

  static const llhttp_settings_t* settings() {
    static const llhttp_settings_t instance = [] {
      llhttp_settings_t settings;
      llhttp_settings_init(&settings);
      settings.on_status = on_status;
      settings.on_header_field = on_header_field;
      settings.on_header_value = on_header_value;
      settings.on_header_value_complete = on_header_value_complete;
      settings.on_headers_complete = on_headers_complete;
      settings.on_body = on_body;
      settings.on_message_complete = on_message_complete;
      return settings;
    }();
    return &instance;
  }
};

ResponseParser::ResponseParser(Body body, size_t max_head_bytes)
    : body_(body), max_head_bytes_(max_head_bytes) {
  llhttp_init(&llhttp_, HTTP_RESPONSE, Callbacks::settings());
  llhttp_.data = this;
}

/// Heads, interim ones and trailers share one cap: none of them can go on for ever.
bool ResponseParser::count_framing(size_t len) {
  head_bytes_ += len;
  too_large_ = head_bytes_ > max_head_bytes_;
  return !too_large_;
}

int ResponseParser::end_header() {
  // A name and a value that are empty still cost memory.
  if (!count_framing(2)) return -1;
  // Trailers are dropped: one that is taken for a header could change what the response means (RFC 9110,
  // 6.5.1).
  if (!head_complete_) {
    const size_t value_end = header_value_.find_last_not_of(" \t") + 1;
    headers_.add(header_name_, std::string_view(header_value_).substr(0, value_end));
  }
  header_name_.clear();
  header_value_.clear();
  return 0;
}

int ResponseParser::end_head() {
  status_ = llhttp_.status_code;
  if (status_ < 100 || status_ > 599) {
    refusal_ = "the status " + std::to_string(status_) + " does not exist";
    return -1;
  }
  if (status_ == 101) {
    refusal_ = "it changes to another protocol, which nobody asked for";
    return -1;
  }
  // No protocol is ever offered, so an Upgrade header has no effect.
  llhttp_.upgrade = 0;
  const auto coding = headers_.find("Transfer-Encoding");
  if (coding && (!equals_ignoring_case(*coding, "chunked") || headers_.count("Transfer-Encoding") > 1)) {
    refusal_ = "its transfer coding is not chunked alone";
    return -1;
  }
  const bool interim = status_ / 100 == 1;
  head_complete_ = !interim;
  if (const auto length = headers_.find("Content-Length"); length && !coding) {
    content_length_ = parse_uint(*length);
  }
  // llhttp takes a Content-Length for a body's, whatever the status (RFC 9112, 6.3).
  const bool has_none = body_ == Body::none || status_ == 204 || status_ == 304;
  return has_none && !interim ? 1 : 0;
}

int ResponseParser::end_message() {
  if (status_ / 100 == 1) {
    headers_.clear();
    content_length_.reset();
    return 0;
  }
  keep_alive_ = llhttp_should_keep_alive(&llhttp_) != 0;
  complete_ = true;
  return HPE_PAUSED;
}

Result<size_t> ResponseParser::feed(std::span<std::byte> bytes) {
  body_begin_ = bytes.data();
  body_bytes_ = 0;
  if (bytes.empty()) return 0;
  started_ = true;
  if (complete_) {
    has_surplus_ = true;
    return 0;
  }
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  const llhttp_errno_t error = llhttp_execute(&llhttp_, begin, bytes.size());
  if (complete_) {
    // What follows a response was asked for by nobody: the two sides disagree about where it ended.
    has_surplus_ = llhttp_get_error_pos(&llhttp_) != begin + bytes.size();
    return body_bytes_;
  }
  if (body_bytes_ > 0) framing_bytes_ = 0;
  // Empty lines before a status line and the extensions of chunks are told to no callback.
  if (error == HPE_OK) framing_bytes_ += bytes.size() - body_bytes_;
  if (too_large_ || framing_bytes_ > max_head_bytes_) {
    return fail(Code::headers_too_large, "the head of the response is over the limit of " +
                                             std::to_string(max_head_bytes_) + " bytes");
  }
  if (error == HPE_OK) return body_bytes_;
  return fail(Code::io, "the answer is not HTTP: " +
                            (refusal_.empty() ? std::string(llhttp_get_error_reason(&llhttp_)) : refusal_));
}

Result<> ResponseParser::finish() {
  if (!complete_ && head_complete_) llhttp_finish(&llhttp_);
  keep_alive_ = false;
  if (complete_) return {};
  return fail(Code::closed, started_ ? "the connection ended before the response was complete"
                                     : "the connection ended before a response came");
}

}  // namespace lambdo::http
