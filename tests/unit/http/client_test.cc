#include "http/client.h"

#include <sys/socket.h>

#include "base/syscalls.h"
#include "reactor/timer.h"
#include "test_server.h"

#include "test.h"

namespace lambdo::http {

using Answer = Result<ClientResponse>;

static Url url_of(uint16_t port, const std::string& target, const std::string& host = "127.0.0.1") {
  return {"http", host, port, target};
}

/// One request on a reactor of its own.
static Answer ask(Url url, Method method = Method::get, std::string body = "", ClientOptions options = {}) {
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  return (*reactor)->run(
      request(**reactor, std::move(url), method, {{"X-Test", "1"}}, std::move(body), {}, options));
}

TEST_CASE("the client gets whole responses: fixed, chunked, without a body, errors too") {
  TestServer server;
  auto answer = ask(url_of(server.port(), "/echo?q", "localhost"), Method::post, "hello");
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "POST /echo?q hello");
  CHECK(answer->headers.find("content-type") == "text/plain");
  CHECK(ask(url_of(server.port(), "/stream"))->body == "onetwothree");
  CHECK(ask(url_of(server.port(), "/big"))->body.size() == 16 << 20);
  answer = ask(url_of(server.port(), "/big"), Method::head);
  REQUIRE(answer);
  CHECK(answer->headers.find("content-length") == std::to_string(16 << 20));
  CHECK(answer->body.empty());
  CHECK(ask(url_of(server.port(), "/none"))->status == 404);
}

TEST_CASE("the client reports what went wrong under its code") {
  TestServer server;
  CHECK(ask(url_of(server.port(), "/broken")).error().code == Code::closed);
  CHECK(ask(url_of(server.port(), "/big"), Method::get, "", {.max_response_bytes = 1000}).error().code ==
        Code::payload_too_large);
  auto named = ask(url_of(server.port(), "/", "example.org"));
  CHECK(named.error().code == Code::not_implemented);
  CHECK(named.error().message.contains("example.org"));
  Url secure = url_of(server.port(), "/");
  secure.scheme = "https";
  CHECK(ask(secure).error().code == Code::not_implemented);
  const uint16_t port = server.port();
  server.begin_stop(0);
  server.join();
  const auto refused = ask(url_of(port, "/health"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.contains("127.0.0.1 port " + std::to_string(port)));
}

TEST_CASE("a client's request ends when its token is cancelled") {
  TestServer server;
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  {
    reactor::Deadline deadline(**reactor, (*reactor)->now_ns() + 50'000'000);
    const Answer answer = (*reactor)->run(
        request(**reactor, url_of(server.port(), "/wait"), Method::get, {}, "", deadline.token()));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::cancelled);
    CHECK(deadline.passed());
  }
  CHECK(eventually([&] { return server.cancelled == 1; }));
}

TEST_CASE("the client refuses header values with line breaks") {
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  const Answer answer =
      (*reactor)->run(request(**reactor, url_of(1, "/"), Method::get, {{"X", "a\r\nY: b"}}, ""));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::invalid_argument);
}

/// Feeds a response byte by byte.
static Result<ClientResponse> parse_response(std::string_view bytes, Method method = Method::get) {
  ResponseParser parser(method, 100);
  for (const char& byte : bytes) TRY(parser.feed({&byte, 1}));
  TRY(parser.finish());
  return parser.take();
}

TEST_CASE("responses are read in pieces, whatever marks their end") {
  struct Row {
    const char* bytes;
    int status;
    const char* body;
  };
  for (const Row& row : {
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 200, "ab"},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nT: x\r\n\r\n",
               200, "ab"},
           Row{"HTTP/1.1 200 OK\r\n\r\nab", 200, "ab"},
           Row{"HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
           Row{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a"},
           Row{"HTTP/1.0 404 \r\n\r\n", 404, ""},
       }) {
    CAPTURE(row.bytes);
    const auto response = parse_response(row.bytes);
    REQUIRE(response);
    CHECK(response->status == row.status);
    CHECK(response->body == row.body);
  }
}

TEST_CASE("what is no whole response is an error") {
  struct Row {
    std::string bytes;
    Code code;
  };
  for (const Row& row : {
           Row{"", Code::closed},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", Code::closed},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", Code::closed},
           Row{"SSH-2.0-OpenSSH\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\n\r\n" + std::string(101, 'x'), Code::payload_too_large},
           Row{"HTTP/1.1 200 OK\r\nX: " + std::string(200, 'x'), Code::payload_too_large},
       }) {
    CAPTURE(row.bytes);
    const auto response = parse_response(row.bytes);
    REQUIRE_FALSE(response);
    CHECK(response.error().code == row.code);
  }
}

}  // namespace lambdo::http
