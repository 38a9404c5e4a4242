#include "http/client/request_writer.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace lambdo::http {

namespace {

// What frames a message or names its receiver has one writer.
constexpr std::array kOwnFields = {"Host",       "Content-Length", "Transfer-Encoding",
                                   "Connection", "Keep-Alive",     "Upgrade",
                                   "TE",         "Trailer",        "Expect"};

constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kMarks.contains(c);
  });
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f;
}

bool has_blank_or_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return c == ' ' || c == '\t' || is_control(c); });
}

}  // namespace

Result<> check_request_to_send(const ClientRequest& request) {
  const Url& url = request.url;
  if (url.scheme != "http" && url.scheme != "https") {
    return fail(Code::invalid_argument, "the scheme must be http or https");
  }
  if (url.host.empty() || has_blank_or_control(url.host) ||
      url.host.find_first_of("/?#@\\") != std::string::npos) {
    return fail(Code::invalid_argument, "the URL's host is malformed");
  }
  if (url.port == 0) return fail(Code::invalid_argument, "the URL's port is 0");
  if (!url.target.starts_with('/') || has_blank_or_control(url.target) || url.target.contains('#')) {
    return fail(Code::invalid_argument, "the URL's path is malformed");
  }
  for (size_t i = 0; i < request.headers.size(); ++i) {
    const auto [name, value] = request.headers[i];
    if (!is_token(name)) return fail(Code::invalid_argument, "the name of a header is malformed");
    if (std::ranges::any_of(value, is_control)) {
      return fail(Code::invalid_argument,
                  "the header " + std::string(name) + " has a line break or a control character");
    }
    const auto is_same = [name](std::string_view own) { return equals_ignoring_case(own, name); };
    if (std::ranges::any_of(kOwnFields, is_same)) {
      return fail(Code::invalid_argument, "the header " + std::string(name) + " is the client's to write");
    }
  }
  return {};
}

std::string request_head(const ClientRequest& request, const Proxy* proxy, const std::string& user_agent) {
  const Url& url = request.url;
  std::string out(method_name(request.method));
  out +=
      " " + (proxy != nullptr ? url.text() : url.target) + " HTTP/1.1\r\nHost: " + url.authority() + "\r\n";
  if (proxy != nullptr && !proxy->authorization.empty()) {
    out += "Proxy-Authorization: " + proxy->authorization + "\r\n";
  }
  if (!request.headers.find("User-Agent")) out += "User-Agent: " + user_agent + "\r\n";
  for (size_t i = 0; i < request.headers.size(); ++i) {
    const auto [name, value] = request.headers[i];
    out.append(name).append(": ").append(value).append("\r\n");
  }
  const bool takes_body =
      request.method == Method::post || request.method == Method::put || request.method == Method::patch;
  if (takes_body || !request.body.empty()) {
    out += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  return out + "\r\n";
}

}  // namespace lambdo::http
