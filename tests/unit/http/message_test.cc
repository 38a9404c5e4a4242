#include "http/message.h"

#include "http/server/response_head.h"

#include "test.h"

namespace lambdo::http {

TEST_CASE("headers keep their order and are found without regard to case") {
  Headers headers{{"A", "1"}, {"Content-Type", "x"}, {"a", "2"}, {"Empty", ""}};
  CHECK(headers.size() == 4);
  CHECK(headers.find("content-TYPE") == "x");
  CHECK(headers.find("A") == "1");
  CHECK(headers.count("a") == 2);
  CHECK(headers[2].name == "a");
  CHECK(headers[2].value == "2");
  CHECK(headers.find("empty") == "");
  CHECK_FALSE(headers.find("none"));
  headers.clear();
  CHECK(headers.size() == 0);
  CHECK_FALSE(headers.find("A"));
}

TEST_CASE("methods and their names belong together") {
  for (const Method method : {Method::get, Method::head, Method::post, Method::put, Method::patch,
                              Method::delete_, Method::options}) {
    CHECK(method_from_name(method_name(method)) == method);
  }
  CHECK_FALSE(method_from_name("get"));
}

static std::string head_of(const Response& response, const Request& request, bool close) {
  ResponseHeadWriter writer;
  std::string out;
  writer.append(out, response, request, close);
  CHECK(out.ends_with("\r\n\r\n"));
  return out;
}

TEST_CASE("a response's head says what the body is and how it ends") {
  Request request;
  Response response;
  response.body = "12345";
  const std::string plain = head_of(response, request, false);
  CHECK(plain.starts_with("HTTP/1.1 200 OK\r\nServer: lambdo\r\nDate: "));
  CHECK(plain.contains(" GMT\r\n"));
  CHECK(plain.contains("\r\nContent-Type: application/json\r\nContent-Length: 5\r\n"));
  CHECK_FALSE(plain.contains("Connection"));
  CHECK(head_of(response, request, true).contains("\r\nConnection: close\r\n"));
  request.version = Version::http_1_0;
  CHECK(head_of(response, request, false).contains("\r\nConnection: keep-alive\r\n"));
  response.status = 204;
  CHECK_FALSE(head_of(response, request, false).contains("Content-"));
}

TEST_CASE("a header's value cannot end its line") {
  Response response;
  response.headers.add("X", "a\r\nSet-Cookie: b");
  CHECK(head_of(response, Request(), false).contains("\r\nX: a  Set-Cookie: b\r\n"));
}

}  // namespace lambdo::http
