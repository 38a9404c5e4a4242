#include "http/server/response_head.h"

#include <array>
#include <charconv>
#include <concepts>

namespace lambdo::http {

static bool status_has_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

bool has_body(const Request& request, const Response& response) {
  return request.method != Method::head && status_has_body(response.status);
}

static void append_number(std::string& out, std::integral auto number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

/// A handler may put text of a request into a header: no byte of it may end the line.
static void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  for (const char c : value) out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  out += "\r\n";
}

void ResponseHeadWriter::refresh_common() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec == second_) return;
  second_ = now.tv_sec;
  tm parts{};
  ::gmtime_r(&second_, &parts);
  std::array<char, 64> date{};
  // IMF-fixdate, RFC 9110, 5.6.7; nobody sets a locale here, so the names are English.
  const size_t len = std::strftime(date.data(), date.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  common_ = "Server: lambdo\r\nDate: ";
  common_.append(date.data(), len);
  common_ += "\r\n";
}

void ResponseHeadWriter::append(std::string& out, const Response& response, const Request& request,
                                bool close) {
  refresh_common();
  out += "HTTP/1.1 ";
  append_number(out, response.status);
  out += ' ';
  out += reason_phrase(response.status);
  out += "\r\n";
  out += common_;
  if (status_has_body(response.status)) {
    if (!response.content_type.empty()) append_field(out, "Content-Type", response.content_type);
    if (!response.stream) {
      out += "Content-Length: ";
      append_number(out, response.body.size());
      out += "\r\n";
    } else if (request.version == Version::http_1_1) {
      out += "Transfer-Encoding: chunked\r\n";
    }
  }
  for (size_t i = 0; i < response.headers.size(); ++i) {
    append_field(out, response.headers[i].name, response.headers[i].value);
  }
  if (close) {
    out += "Connection: close\r\n";
  } else if (request.version == Version::http_1_0) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

}  // namespace lambdo::http
