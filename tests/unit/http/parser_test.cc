#include "http/server/parser.h"

#include <vector>

#include "request_cases.h"

#include "test.h"

namespace lambdo::http {

using State = RequestParser::State;

static constexpr ParserLimits kLimits{kCaseMaxHeaderBytes, kCaseMaxHeaders, kCaseMaxBodyBytes};

/// What a parser makes of bytes that come in pieces.
struct Outcome {
  int status = 0;  ///< 200: complete, 0: more needed
  std::string code;
  std::string answer;
  size_t taken_bytes = 0;

  bool operator==(const Outcome&) const = default;
};

static Outcome parse(const std::vector<std::string_view>& pieces) {
  Request request;
  RequestParser parser(kLimits, request);
  Outcome outcome;
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      const size_t taken = parser.feed(piece);
      outcome.taken_bytes += taken;
      if (parser.state() == State::error) {
        const Refusal& refusal = parser.refusal();
        CHECK_FALSE(refusal.message.empty());
        return {refusal.status, std::string(code_name(refusal.code)), "", 0};
      }
      if (parser.state() == State::message_complete) {
        outcome.status = 200;
        outcome.answer = std::string(method_name(request.method)) + " " + request.path + "?" + request.query +
                         " " + request.body;
        return outcome;
      }
      if (parser.state() == State::needs_more) REQUIRE(taken == piece.size());
      piece.remove_prefix(taken);
    }
  }
  return outcome;
}

static Outcome expected(const RequestCase& request) {
  return {request.status, request.code, request.answer, request.status == 200 ? request.bytes.size() : 0};
}

TEST_CASE("the parser accepts what is valid and refuses every attack, however the bytes are split") {
  for (const RequestCase& request : request_cases()) {
    CAPTURE(request.name);
    const std::string_view bytes = request.bytes;
    const Outcome whole = parse({bytes});
    CHECK(whole.status == request.status);
    CHECK(whole.code == request.code);
    CHECK(whole.answer == request.answer);
    for (size_t split = 1; split < bytes.size(); ++split) {
      CAPTURE(split);
      REQUIRE(parse({bytes.substr(0, split), bytes.substr(split)}) == expected(request));
    }
    std::vector<std::string_view> single_bytes;
    single_bytes.reserve(bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) single_bytes.push_back(bytes.substr(i, 1));
    CHECK(parse(single_bytes) == expected(request));
  }
}

TEST_CASE("every valid request cut short needs more") {
  for (const RequestCase& request : request_cases()) {
    if (request.status != 200) continue;
    CAPTURE(request.name);
    for (size_t len = 0; len < request.bytes.size(); ++len) {
      CAPTURE(len);
      CHECK(parse({std::string_view(request.bytes).substr(0, len)}).status == 0);
    }
  }
}

TEST_CASE("the parser takes no byte of the request that follows") {
  for (const RequestCase& request : request_cases()) {
    if (request.status != 200) continue;
    CAPTURE(request.name);
    CHECK(parse({request.bytes + "GET /next HTTP/1.1\r\n"}) == expected(request));
  }
}

TEST_CASE("the parser stops between head and body, so that the head can be answered first") {
  Request request;
  RequestParser parser(kLimits, request);
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
  CHECK_FALSE(parser.started());
  CHECK(parser.feed("\r\n") == 2);
  CHECK_FALSE(parser.started());
  CHECK(parser.feed(head + "xy") == head.size());
  CHECK(parser.started());
  CHECK(parser.state() == State::headers_complete);
  CHECK(parser.in_body());
  CHECK(parser.feed("x") == 1);
  CHECK(parser.state() == State::needs_more);
  CHECK(parser.feed("yz") == 1);
  CHECK(parser.state() == State::message_complete);
  CHECK(request.body == "xy");
}

TEST_CASE("a parser that was reset knows nothing of the request before") {
  Request request;
  RequestParser parser(kLimits, request);
  const std::string first = "POST /a?b HTTP/1.0\r\nX: y\r\nContent-Length: 1\r\n\r\nz";
  REQUIRE(parser.feed(first) < first.size());
  REQUIRE(parser.feed("z") == 1);
  CHECK_FALSE(request.keep_alive);
  parser.reset();
  const std::string second = "GET /c HTTP/1.1\r\nHost: d\r\n\r\n";
  CHECK(parser.feed(second) == second.size());
  CHECK(parser.state() == State::message_complete);
  CHECK(request.path == "/c");
  CHECK(request.query.empty());
  CHECK(request.body.empty());
  CHECK(request.headers.size() == 1);
  CHECK(request.version == Version::http_1_1);
  CHECK(request.keep_alive);
}

TEST_CASE("the connection header and the version decide about keeping the connection") {
  const std::vector<std::pair<std::string, bool>> heads = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, Close\r\n\r\n", false},
      {"GET / HTTP/1.0\r\n\r\n", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
  };
  for (const auto& [head, keep_alive] : heads) {
    CAPTURE(head);
    Request request;
    RequestParser parser(kLimits, request);
    parser.feed(head);
    REQUIRE(parser.state() == State::message_complete);
    CHECK(request.keep_alive == keep_alive);
  }
}

}  // namespace lambdo::http
