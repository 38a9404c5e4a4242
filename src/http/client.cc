#include "http/client.h"

#include <arpa/inet.h>

#include <array>

#include "base/text.h"
#include "reactor/stream.h"

namespace lambdo::http {

static bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

static Task<Result<Fd>> connect(reactor::Reactor& reactor, const Url& url, CancelToken token) {
  if (url.scheme != "http") {
    co_return fail(Code::not_implemented, "https is not supported; use an http:// URL of a server nearby");
  }
  if (url.host == "localhost") {
    auto socket = co_await reactor::connect_tcp(reactor, "127.0.0.1", url.port, token);
    if (socket || token.cancelled()) co_return socket;
    auto other = co_await reactor::connect_tcp(reactor, "::1", url.port, token);
    // Where neither is there, the error of the usual one says more.
    if (other || token.cancelled()) co_return other;
    co_return socket;
  }
  if (!is_address(url.host)) {
    co_return fail(Code::not_implemented, "host names are not looked up; write the address of \"" + url.host +
                                              "\" (getent hosts " + url.host + ") or localhost");
  }
  co_return co_await reactor::connect_tcp(reactor, url.host, url.port, token);
}

static std::string request_text(const Url& url, Method method, const Headers& headers,
                                const std::string& body) {
  std::string out(method_name(method));
  out += " " + url.target + " HTTP/1.1\r\nHost: " + url.authority() + "\r\nConnection: close\r\n";
  for (size_t i = 0; i < headers.size(); ++i) {
    out += std::string(headers[i].name) + ": " + std::string(headers[i].value) + "\r\n";
  }
  if (!body.empty() || method == Method::post || method == Method::put || method == Method::patch) {
    out += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return out + "\r\n" + body;
}

Task<Result<ClientResponse>> request(reactor::Reactor& reactor, Url url, Method method, Headers headers,
                                     std::string body, CancelToken token, ClientOptions options) {
  for (size_t i = 0; i < headers.size(); ++i) {
    if (headers[i].value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      co_return fail(Code::invalid_argument,
                     "the header " + std::string(headers[i].name) + " has a line break");
    }
  }
  reactor::SocketStream stream(reactor, CO_TRY(co_await connect(reactor, url, token)));
  const std::string text = request_text(url, method, headers, body);
  const auto sent = co_await stream.send(reactor::as_bytes(text), token);
  // A server may answer, 413 say, and close before it has read all: its answer counts, not that we could not
  // send.
  if (!sent && sent.error().code != Code::closed) co_return std::unexpected(sent.error());
  ResponseParser parser(method, options.max_response_bytes);
  while (!parser.complete()) {
    const reactor::Chunk chunk = CO_TRY(co_await stream.receive(token));
    if (chunk.empty()) {
      CO_TRY(parser.finish());
      break;
    }
    CO_TRY(parser.feed(reactor::as_text(chunk.bytes())));
  }
  co_return parser.take();
}

}  // namespace lambdo::http
