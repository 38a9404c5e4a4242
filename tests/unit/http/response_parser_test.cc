#include "http/client/response_parser.h"

#include <algorithm>
#include <string>
#include <vector>

#include "test.h"

namespace lambdo::http {

namespace {

struct Parsed {
  int status = 0;
  std::string body;
  bool keep_alive = false;
};

/// Feeds a response in pieces of `piece_bytes`, then ends the connection unless it was complete.
Result<Parsed> parse(std::string_view text, size_t piece_bytes,
                     ResponseParser::Body body = ResponseParser::Body::by_head) {
  ResponseParser parser(body, 300);
  Parsed parsed;
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, piece_bytes);
    text.remove_prefix(piece.size());
    // A buffer of its own each, so that the sanitizers see what is read past its end.
    std::vector<std::byte> buffer(piece.size());
    std::ranges::copy(std::as_bytes(std::span(piece)), buffer.begin());
    const size_t count = TRY(parser.feed(buffer));
    parsed.body.append(reinterpret_cast<const char*>(buffer.data()), count);
  }
  if (!parser.complete()) TRY(parser.finish());
  parsed.status = parser.status();
  parsed.keep_alive = parser.keep_alive();
  return parsed;
}

const std::vector<size_t> kPieces = {1, 2, 3, 7, 16, 100'000};

}  // namespace

TEST_CASE("responses are read in pieces of any size, whatever marks their end") {
  struct Row {
    std::string text;
    int status;
    std::string body;
    bool keep_alive;
  };
  for (const Row& row : {
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 200, "ab", true},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n3;x=y\r\nbcd\r\n0\r\nT: "
               "x\r\n\r\n",
               200, "abcd", true},
           Row{"HTTP/1.1 200 OK\r\n\r\nab", 200, "ab", false},
           Row{"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
           Row{"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, "", true},
           Row{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nLink: x\r\n\r\nHTTP/1.1 200 "
               "OK\r\nContent-Length: "
               "1\r\n\r\na",
               200, "a", true},
           Row{"HTTP/1.0 404 \r\n\r\n", 404, "", false},
           Row{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", 200, "a", false},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", 200, "a", false},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\n\r\n", 200, "a", false},
       }) {
    for (const size_t piece_bytes : kPieces) {
      CAPTURE(row.text);
      CAPTURE(piece_bytes);
      const auto parsed = parse(row.text, piece_bytes);
      REQUIRE(parsed);
      CHECK(parsed->status == row.status);
      CHECK(parsed->body == row.body);
      CHECK(parsed->keep_alive == row.keep_alive);
    }
  }
}

TEST_CASE("the answer to HEAD, and to CONNECT, has no body whatever its head says") {
  for (const std::string text : {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    for (const size_t piece_bytes : kPieces) {
      const auto parsed = parse(text, piece_bytes, ResponseParser::Body::none);
      REQUIRE(parsed);
      CHECK(parsed->body.empty());
      CHECK(parsed->keep_alive);
    }
  }
}

TEST_CASE("what is no whole response is an error under its code") {
  struct Row {
    std::string text;
    Code code;
  };
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const Row& row : {
           Row{"", Code::closed},
           Row{"HTTP/1.1 200 OK\r\nContent-Le", Code::closed},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", Code::closed},
           Row{chunked + "1\r\na\r\n", Code::closed},
           Row{"HTTP/1.1 100 Continue\r\n\r\n", Code::closed},
           Row{"SSH-2.0-OpenSSH\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", Code::io},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc", Code::io},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Code::io},
           Row{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Code::io},
           Row{"HTTP/1.1 999 Odd\r\n\r\n", Code::io},
           Row{chunked + "zz\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nX: " + std::string(400, 'x'), Code::headers_too_large},
           Row{"HTTP/1.1 200 " + std::string(400, 'x'), Code::headers_too_large},
           Row{std::string(400, '\n'), Code::headers_too_large},
           Row{chunked + "1;" + std::string(400, 'x'), Code::headers_too_large},
           Row{chunked + "1\r\na\r\n0\r\nT: " + std::string(400, 'x'), Code::headers_too_large},
       }) {
    for (const size_t piece_bytes : kPieces) {
      CAPTURE(row.text);
      CAPTURE(piece_bytes);
      const auto parsed = parse(row.text, piece_bytes);
      REQUIRE_FALSE(parsed);
      CHECK(parsed.error().code == row.code);
    }
  }
}

TEST_CASE("interim responses that never end are over the cap") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "HTTP/1.1 102 Processing\r\nX: y\r\n\r\n";
  for (const size_t piece_bytes : kPieces) {
    const auto parsed = parse(text, piece_bytes);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Code::headers_too_large);
  }
}

}  // namespace lambdo::http
