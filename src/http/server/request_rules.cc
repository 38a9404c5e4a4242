#include "http/server/request_rules.h"

#include "base/text.h"
#include "http/server/target.h"

namespace lambdo::http {

static Refusal bad_request(std::string message) {
  return {400, Code::invalid_argument, std::move(message)};
}

static std::optional<Refusal> check_host(const Request& request) {
  const size_t hosts = request.headers.count("host");
  if (hosts > 1) return bad_request("more than one Host header");
  if (hosts == 0) {
    if (request.version == Version::http_1_0) return std::nullopt;
    return bad_request("the Host header is missing");
  }
  const std::string_view host = *request.headers.find("host");
  if (host.find_first_of(" \t/\\@?#<>\"{}|^`,") != std::string_view::npos) {
    return bad_request("the Host header is not a host name with an optional port");
  }
  return std::nullopt;
}

static std::optional<Refusal> check_framing(const Request& request) {
  const Headers& headers = request.headers;
  const size_t lengths = headers.count("content-length");
  const size_t codings = headers.count("transfer-encoding");
  if (lengths > 1) return bad_request("more than one Content-Length header");
  if (lengths == 1 && !content_length(request)) return bad_request("Content-Length is not a decimal number");
  if (codings == 0) return std::nullopt;
  if (lengths == 1) return bad_request("Content-Length and Transfer-Encoding exclude each other");
  if (request.version == Version::http_1_0) return bad_request("HTTP/1.0 knows no Transfer-Encoding");
  if (codings > 1) return bad_request("more than one Transfer-Encoding header");
  if (!is_chunked(request)) {
    return Refusal{501, Code::not_implemented,
                   "Transfer-Encoding must be \"chunked\"; other codings are not supported"};
  }
  return std::nullopt;
}

std::optional<uint64_t> content_length(const Request& request) {
  const auto value = request.headers.find("content-length");
  return value ? parse_uint(*value) : std::nullopt;
}

bool is_chunked(const Request& request) {
  const auto value = request.headers.find("transfer-encoding");
  return value && equals_ignoring_case(*value, "chunked");
}

std::optional<Refusal> check_request(Request& request) {
  if (auto refusal = check_framing(request)) return refusal;
  if (auto refusal = check_host(request)) return refusal;
  if (const auto expectation = request.headers.find("expect");
      expectation && !equals_ignoring_case(*expectation, "100-continue")) {
    return Refusal{417, Code::not_implemented, "the only expectation that can be met is 100-continue"};
  }
  auto target = parse_target(request.method, request.target);
  if (!target) return bad_request(std::move(target).error().message);
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  return std::nullopt;
}

}  // namespace lambdo::http
