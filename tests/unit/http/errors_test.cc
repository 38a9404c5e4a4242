#include "http/errors.h"

#include <regex>
#include <set>
#include <string>

#include "base/syscalls.h"

#include "test.h"

namespace lambdo::http {

TEST_CASE("every code has a status") {
  for (int code = 0; code <= static_cast<int>(kLastCode); ++code) {
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

/// The pairs of status and code in the error table of docs/api.md.
static std::set<std::string> documented_errors() {
  const std::string page = sys::read_file(LAMBDO_SOURCE_ROOT "/docs/api.md").value();
  static const std::regex kRow("\\n\\| (\\d{3}) \\| ([a-z_`, ]+) \\|");
  static const std::regex kCode("`([a-z_]+)`");
  std::set<std::string> pairs;
  for (std::sregex_iterator row(page.begin(), page.end(), kRow), end; row != end; ++row) {
    const std::string codes = (*row)[2];
    for (std::sregex_iterator code(codes.begin(), codes.end(), kCode); code != end; ++code) {
      pairs.insert((*row)[1].str() + " " + (*code)[1].str());
    }
  }
  return pairs;
}

TEST_CASE("the errors in docs/api.md are those of the table, and those that HTTP itself asks for") {
  std::set<std::string> expected = {"408 timeout", "417 not_implemented", "503 overloaded",
                                    "505 not_implemented"};
  for (int value = 0; value <= static_cast<int>(kLastCode); ++value) {
    const auto code = static_cast<Code>(value);
    if (code == Code::cancelled) continue;        // nobody is there to be answered
    if (code >= Code::name_unresolved) continue;  // of `lambdo image`: a run sees `unavailable`
    expected.insert(std::to_string(status_of(code)) + " " + std::string(code_name(code)));
  }
  CHECK(documented_errors() == expected);
}

TEST_CASE("the errors in docs/images.md are those of images, each with a row of its own") {
  const std::string page = sys::read_file(LAMBDO_SOURCE_ROOT "/docs/images.md").value();
  static const std::regex kRow("\\n\\| `([a-z_]+)` \\| [^|\\n]+ \\| [^|\\n]+ \\|");
  std::set<std::string> documented;
  const size_t table = page.find("| code | when | what to do |");
  REQUIRE_NE(table, std::string::npos);
  const std::string rows = page.substr(table);
  for (std::sregex_iterator row(rows.begin(), rows.end(), kRow), end; row != end; ++row) {
    documented.insert((*row)[1]);
  }
  std::set<std::string> expected;
  for (int value = static_cast<int>(Code::name_unresolved); value <= static_cast<int>(kLastCode); ++value) {
    expected.insert(std::string(code_name(static_cast<Code>(value))));
  }
  CHECK(documented == expected);
}

}  // namespace lambdo::http
