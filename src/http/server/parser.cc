#include "http/server/parser.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace lambdo::http {

/// llhttp's C callbacks, to members. They return 0, or -1 where `refuse` was called.
struct RequestParser::Callbacks {
  static RequestParser& self(llhttp_t* llhttp) { return *static_cast<RequestParser*>(llhttp->data); }

  static int on_url(llhttp_t* llhttp, const char* at, size_t len) {
    self(llhttp).request_->target.append(at, len);
    return 0;
  }
  static int on_header_field(llhttp_t* llhttp, const char* at, size_t len) {
    self(llhttp).header_name_.append(at, len);
    return 0;
  }
  static int on_header_value(llhttp_t* llhttp, const char* at, size_t len) {
    self(llhttp).header_value_.append(at, len);
    return 0;
  }
  static int on_header_value_complete(llhttp_t* llhttp) { return self(llhttp).end_header(); }
  static int on_headers_complete(llhttp_t* llhttp) { return self(llhttp).end_head(); }
  static int on_body(llhttp_t* llhttp, const char* at, size_t len) {
    return self(llhttp).take_body({at, len});
  }
  static int on_chunk_header(llhttp_t* llhttp) {
    RequestParser& parser = self(llhttp);
    const size_t left = parser.limits_.max_body_bytes - parser.request_->body.size();
    if (llhttp->content_length <= left) return 0;
    parser.refuse(
        413, Code::payload_too_large,
        "the body is over the limit of " + std::to_string(parser.limits_.max_body_bytes) + " bytes");
    return -1;
  }
  static int on_message_complete(llhttp_t* llhttp) {
    self(llhttp).state_ = State::message_complete;
    return HPE_PAUSED;
  }

  static const llhttp_settings_t* settings() {
    static const llhttp_settings_t instance = [] {
      llhttp_settings_t settings;
      llhttp_settings_init(&settings);
      settings.on_url = on_url;
      settings.on_header_field = on_header_field;
      settings.on_header_value = on_header_value;
      settings.on_header_value_complete = on_header_value_complete;
      settings.on_headers_complete = on_headers_complete;
      settings.on_body = on_body;
      settings.on_chunk_header = on_chunk_header;
      settings.on_message_complete = on_message_complete;
      return settings;
    }();
    return &instance;
  }
};

RequestParser::RequestParser(ParserLimits limits, Request& request) : limits_(limits), request_(&request) {
  reset();
}

void RequestParser::reset() {
  request_->clear();
  llhttp_init(&llhttp_, HTTP_REQUEST, Callbacks::settings());
  llhttp_.data = this;
  guard_.reset();
  phase_ = Phase::head;
  state_ = State::needs_more;
  header_name_.clear();
  header_value_.clear();
  head_bytes_ = 0;
  trailers_ = 0;
  body_left_bytes_ = 0;
}

size_t RequestParser::feed(std::string_view bytes) {
  CHECK(state_ == State::needs_more || state_ == State::headers_complete);
  if (bytes.empty()) return 0;
  state_ = State::needs_more;
  switch (phase_) {
    case Phase::head:
      return feed_head(bytes);
    case Phase::fixed_body:
      return feed_fixed(bytes);
    case Phase::chunked_body:
      return feed_chunked(bytes);
  }
  CHECK(false && "unknown phase");
}

size_t RequestParser::feed_head(std::string_view bytes) {
  const LineGuard::Verdict verdict =
      guard_.check_head(bytes.substr(0, limits_.max_header_bytes - head_bytes_));
  head_bytes_ += verdict.good_bytes;
  const size_t taken = execute(bytes.substr(0, verdict.good_bytes));
  if (state_ == State::error) return taken;
  if (verdict.problem != nullptr) {
    refuse(verdict.problem->status,
           verdict.problem->status == 400 ? Code::invalid_argument : Code::not_implemented,
           verdict.problem->message);
  } else if (verdict.head_ended) {
    // The guard and llhttp must agree where the head ends; what only one of them takes for an end is an
    // attack.
    if (phase_ == Phase::head && state_ != State::message_complete) {
      refuse(400, Code::invalid_argument, "the head is malformed");
    } else if (state_ != State::message_complete) {
      state_ = State::headers_complete;
    }
  } else if (head_bytes_ == limits_.max_header_bytes) {
    refuse(431, Code::headers_too_large,
           "request line and headers are over the limit of " + std::to_string(limits_.max_header_bytes) +
               " bytes");
  }
  return taken;
}

size_t RequestParser::feed_fixed(std::string_view bytes) {
  const std::string_view body = bytes.substr(0, std::min<uint64_t>(bytes.size(), body_left_bytes_));
  body_left_bytes_ -= body.size();
  return execute(body);
}

size_t RequestParser::feed_chunked(std::string_view bytes) {
  framing_begin_ = bytes.data();
  const size_t taken = execute(bytes);
  if (state_ != State::error) check_framing(bytes.data() + taken);
  return taken;
}

/// Has the guard look at the framing up to `end`; false where it refused.
bool RequestParser::check_framing(const char* end) {
  const LineGuard::Verdict verdict = guard_.check_framing({framing_begin_, end});
  framing_begin_ = end;
  if (verdict.problem != nullptr) {
    refuse(400, Code::invalid_argument, std::string("chunked body: ") + verdict.problem->message);
  } else if (guard_.surplus_bytes() > limits_.max_header_bytes) {
    refuse(431, Code::headers_too_large,
           "chunk extensions and trailers are over the limit of " + std::to_string(limits_.max_header_bytes) +
               " bytes");
  }
  return state_ != State::error;
}

/// Runs llhttp; gives how many bytes it took.
size_t RequestParser::execute(std::string_view bytes) {
  if (bytes.empty()) return 0;
  const llhttp_errno_t error = llhttp_execute(&llhttp_, bytes.data(), bytes.size());
  if (error == HPE_OK) return bytes.size();
  // It pauses at the end of a message only.
  if (error != HPE_PAUSED && state_ != State::error) refuse_llhttp(error);
  const char* stop = llhttp_get_error_pos(&llhttp_);
  return stop == nullptr ? bytes.size() : static_cast<size_t>(stop - bytes.data());
}

void RequestParser::refuse(int status, Code code, std::string message) {
  state_ = State::error;
  refusal_ = {status, code, std::move(message)};
}

void RequestParser::refuse_llhttp(llhttp_errno_t error) {
  switch (error) {
    case HPE_INVALID_METHOD:
      return refuse(400, Code::invalid_argument, "the request does not start with a known HTTP method");
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
      return refuse(505, Code::not_implemented, "the version must be HTTP/1.1 or HTTP/1.0");
    default:
      return refuse(400, Code::invalid_argument, llhttp_get_error_reason(&llhttp_));
  }
}

int RequestParser::end_header() {
  const size_t count = in_body() ? ++trailers_ : request_->headers.size() + 1;
  if (count > limits_.max_headers) {
    refuse(431, Code::headers_too_large,
           "more than " + std::to_string(limits_.max_headers) + (in_body() ? " trailers" : " headers"));
    return -1;
  }
  // Trailers are dropped: one that is taken for a header could change what the request means (RFC
  // 9110, 6.5.1).
  if (!in_body()) request_->headers.add(header_name_, trimmed(header_value_));
  header_name_.clear();
  header_value_.clear();
  return 0;
}

int RequestParser::end_head() {
  const auto method = method_from_name(llhttp_method_name(static_cast<llhttp_method_t>(llhttp_.method)));
  if (!method) {
    refuse(501, Code::not_implemented, "this method is not supported");
    return -1;
  }
  request_->method = *method;
  request_->version = llhttp_.http_minor == 0 ? Version::http_1_0 : Version::http_1_1;
  request_->keep_alive = llhttp_should_keep_alive(&llhttp_) != 0;
  if (auto refusal = check_request(*request_)) {
    refuse(refusal->status, refusal->code, std::move(refusal->message));
    return -1;
  }
  // No protocol is offered to change to, so an Upgrade header has no effect (RFC 9110, 7.8).
  llhttp_.upgrade = 0;
  const uint64_t len_bytes = content_length(*request_).value_or(0);
  if (len_bytes > limits_.max_body_bytes) {
    refuse(413, Code::payload_too_large,
           "the body is over the limit of " + std::to_string(limits_.max_body_bytes) + " bytes");
    return -1;
  }
  if (is_chunked(*request_)) {
    phase_ = Phase::chunked_body;
  } else if (len_bytes > 0) {
    // Not more at once than a client that sends nothing may cost.
    static constexpr uint64_t kMaxReserveBytes = 1 << 20;
    request_->body.reserve(std::min(len_bytes, kMaxReserveBytes));
    phase_ = Phase::fixed_body;
    body_left_bytes_ = len_bytes;
  }
  return 0;
}

int RequestParser::take_body(std::string_view data) {
  if (phase_ == Phase::chunked_body) {
    if (!check_framing(std::to_address(data.begin()))) return -1;
    framing_begin_ = data.data() + data.size();
  }
  request_->body += data;
  return 0;
}

}  // namespace lambdo::http
