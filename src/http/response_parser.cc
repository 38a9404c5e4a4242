#include "http/response_parser.h"

namespace lambdo::http {

struct ResponseParser::Callbacks {
  static ResponseParser& self(llhttp_t* llhttp) { return *static_cast<ResponseParser*>(llhttp->data); }

  static int grow_head(ResponseParser& parser, std::string& text, const char* at, size_t len) {
    parser.head_bytes_ += len;
    parser.too_large_ = parser.head_bytes_ > parser.max_bytes_;
    if (parser.too_large_) return -1;
    text.append(at, len);
    return 0;
  }
  static int on_header_field(llhttp_t* llhttp, const char* at, size_t len) {
    return grow_head(self(llhttp), self(llhttp).header_name_, at, len);
  }
  static int on_header_value(llhttp_t* llhttp, const char* at, size_t len) {
    return grow_head(self(llhttp), self(llhttp).header_value_, at, len);
  }
  static int on_header_value_complete(llhttp_t* llhttp) {
    ResponseParser& parser = self(llhttp);
    const size_t value_end = parser.header_value_.find_last_not_of(" \t") + 1;
    if (!parser.in_body_) {
      parser.response_.headers.add(parser.header_name_,
                                   std::string_view(parser.header_value_).substr(0, value_end));
    }
    parser.header_name_.clear();
    parser.header_value_.clear();
    return 0;
  }
  static int on_headers_complete(llhttp_t* llhttp) {
    ResponseParser& parser = self(llhttp);
    parser.response_.status = llhttp->status_code;
    parser.in_body_ = true;
    llhttp->upgrade = 0;
    return parser.head_request_ ? 1 : 0;
  }
  static int on_body(llhttp_t* llhttp, const char* at, size_t len) {
    ResponseParser& parser = self(llhttp);
    parser.too_large_ = len > parser.max_bytes_ - parser.response_.body.size();
    if (parser.too_large_) return -1;
    parser.response_.body.append(at, len);
    return 0;
  }
  static int on_message_complete(llhttp_t* llhttp) {
    ResponseParser& parser = self(llhttp);
    parser.in_body_ = false;
    if (parser.response_.status / 100 == 1) {
      parser.response_ = {};
      return 0;
    }
    parser.complete_ = true;
    return HPE_PAUSED;
  }

  static const llhttp_settings_t* settings() {
    static const llhttp_settings_t instance = [] {
      llhttp_settings_t settings;
      llhttp_settings_init(&settings);
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

ResponseParser::ResponseParser(Method request_method, size_t max_bytes)
    : max_bytes_(max_bytes), head_request_(request_method == Method::head) {
  llhttp_init(&llhttp_, HTTP_RESPONSE, Callbacks::settings());
  llhttp_.data = this;
}

Result<> ResponseParser::feed(std::string_view bytes) {
  if (complete_) return {};
  const llhttp_errno_t error = llhttp_execute(&llhttp_, bytes.data(), bytes.size());
  if (error == HPE_OK || complete_) return {};
  if (too_large_) {
    return fail(Code::payload_too_large,
                "the response is over the limit of " + std::to_string(max_bytes_) + " bytes");
  }
  return fail(Code::io, std::string("the answer is not HTTP: ") + llhttp_get_error_reason(&llhttp_));
}

Result<> ResponseParser::finish() {
  if (!complete_) llhttp_finish(&llhttp_);
  if (complete_) return {};
  return fail(Code::closed, "the connection ended before the response was complete");
}

}  // namespace lambdo::http
