#include "http/errors.h"

#include "test.h"

namespace lambdo::http {

TEST_CASE("every code has a status") {
  for (int code = 0; code <= static_cast<int>(Code::agent_protocol); ++code) {
    CAPTURE(code);
    CHECK(status_of(static_cast<Code>(code)) >= 400);
  }
}

TEST_CASE("an error is answered as JSON under its status, with Retry-After where that helps") {
  const Response plain = error_response({Code::not_found, 0, "no \"x\""});
  CHECK(plain.status == 404);
  CHECK(plain.content_type == "application/json");
  CHECK(plain.body == R"({"error":{"code":"not_found","message":"no \"x\""}})");
  CHECK_FALSE(plain.headers.find("Retry-After"));

  const Response overloaded = error_response({Code::overloaded, 0, "queue full"});
  CHECK(overloaded.status == 429);
  CHECK(overloaded.headers.find("Retry-After") == "1");
  const Response draining = error_response({Code::shutting_down, 0, "stopping"});
  CHECK(draining.status == 503);
  CHECK(draining.headers.find("Retry-After"));
}

}  // namespace lambdo::http
