#include <string>
#include <vector>

#include "registry/dates.h"
#include "registry/endpoint.h"
#include "registry/registry_error.h"
#include "registry/retry.h"
#include "registry/token.h"
#include "test.h"

namespace lambdo::registry {
namespace {

TEST_CASE("dates are read as HTTP and the Internet write them") {
  // RFC 9110, 5.6.7, and RFC 3339, 5.8.
  CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777);
  CHECK(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT") == 0);
  CHECK(parse_internet_date("1994-11-06T08:49:37Z") == 784111777);
  CHECK(parse_internet_date("1994-11-06t08:49:37.123456789z") == 784111777);
  CHECK(parse_internet_date("1994-11-06T09:49:37+01:00") == 784111777);
  CHECK(parse_internet_date("1994-11-06T00:19:37.5-08:30") == 784111777);
  CHECK(parse_internet_date("2024-02-29T00:00:00Z") == 1709164800);
  for (const std::string_view text :
       {"", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, 06 ovD 1994 08:49:37 GMT"}) {
    CAPTURE(text);
    CHECK(!parse_http_date(text));
  }
  for (const std::string_view text :
       {"", "1994-11-06", "1994-11-06T08:49:37", "1994-13-06T08:49:37Z", "1994-11-06T08:60:37Z",
        "1994-11-06T08:49:37+0100", "1994-11-06T08:49:37Zz", "1994-11-06X08:49:37Z",
        "-994-11-06T08:49:37Z"}) {
    CAPTURE(text);
    CHECK(!parse_internet_date(text));
  }
}

TEST_CASE("Retry-After is seconds or a date, and nothing else") {
  CHECK(parse_retry_after("0", 0) == 0);
  CHECK(parse_retry_after("120", 0) == 120'000);
  CHECK(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111767) == 10'000);
  CHECK(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111787) == 0);
  CHECK(parse_retry_after("99999999999999999999", 0) == std::nullopt);
  CHECK(parse_retry_after("9999999999999999999", 0).value() > 0);
  CHECK(parse_retry_after("-1", 0) == std::nullopt);
  CHECK(parse_retry_after("soon", 0) == std::nullopt);
}

TEST_CASE("a token's answer is read in both of its forms, and lasts as long as it says") {
  const struct {
    std::string_view json;
    std::string_view value;
    int64_t lifetime_ms;
  } rows[] = {
      {R"({"token":"abc"})", "abc", 60'000},
      {R"({"access_token":"abc","expires_in":300})", "abc", 300'000},
      {R"({"token":"abc","access_token":"def","expires_in":0})", "abc", 0},
      {R"({"token":"","access_token":"def"})", "def", 60'000},
      {R"({"token":"abc","expires_in":300,"issued_at":"1970-01-01T00:15:40Z"})", "abc", 240'000},
      {R"({"token":"abc","expires_in":300,"issued_at":"1970-01-01T00:00:00Z"})", "abc", 0},
      {R"({"token":"abc","expires_in":300,"issued_at":"2100-01-01T00:00:00Z"})", "abc", 300'000},
      {R"({"token":"abc","expires_in":300,"issued_at":"yesterday"})", "abc", 300'000},
      {R"({"token":"abc","expires_in":9999999999})", "abc", 86'400'000},
  };
  for (const auto& row : rows) {
    CAPTURE(row.json);
    const auto token = parse_token_response(row.json, 1000);
    REQUIRE_MESSAGE(token, token.error().message);
    CHECK(token->value == row.value);
    CHECK(token->lifetime_ms == row.lifetime_ms);
  }
}

TEST_CASE("what is no token is refused, and not shown") {
  for (const std::string_view json :
       {"", "hunter2", "[]", "{}", R"({"token":7})", R"({"token":"hunter2 x"})",
        R"({"token":"hunter2\r\nX: y"})", R"({"token":"hunter2","expires_in":"60"})",
        R"({"token":"hunter2","expires_in":-1})", R"({"access_token":"hunter2é"})"}) {
    CAPTURE(json);
    const auto token = parse_token_response(json, 0);
    REQUIRE(!token);
    CHECK(token.error().code == Code::registry_failed);
    CHECK(token.error().message.find("hunter2") == std::string::npos);
  }
}

TEST_CASE("a token is asked for as the credential demands") {
  const TokenSource source{.realm = http::Url::parse("https://auth.example/token?x=1").value(),
                           .service = "registry example"};
  const auto anonymous = token_request(source, "repository:a/b:pull", {});
  CHECK(anonymous.method == http::Method::get);
  CHECK(anonymous.url.target == "/token?x=1&scope=repository%3Aa%2Fb%3Apull&service=registry%20example");
  CHECK(!anonymous.headers.find("authorization"));

  const auto basic = token_request(source, "s", {.user = "me&you", .password = "secret"});
  CHECK(basic.url.target == "/token?x=1&scope=s&service=registry%20example&account=me%26you");
  CHECK(basic.headers.find("authorization") == "Basic bWUmeW91OnNlY3JldA==");

  const auto refresh = token_request(source, "s", {.identity_token = "long/token"});
  CHECK(refresh.method == http::Method::post);
  CHECK(refresh.url.target == "/token?x=1");
  CHECK(refresh.body ==
        "grant_type=refresh_token&client_id=lambdo&scope=s&service=registry%20example"
        "&refresh_token=long%2Ftoken");
  CHECK(!refresh.headers.find("authorization"));
}

TEST_CASE("a refusal becomes an error with the registry's own words, and without secrets") {
  const std::string unknown = R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})";
  const struct {
    int status;
    std::string body;
    Code code;
    std::string_view message;
  } rows[] = {
      {404, unknown, Code::not_found, "r.example answers 404 for a:1 (MANIFEST_UNKNOWN: manifest unknown)"},
      {404, "<html>", Code::not_found, "r.example answers 404 for a:1"},
      {401, R"({"errors":[{"code":"UNAUTHORIZED"}]})", Code::unauthorized,
       "r.example answers 401 for a:1 (UNAUTHORIZED)"},
      {403, R"({"errors":[{"code":"DENIED","message":"a\u001b[31m\nb"}]})", Code::unauthorized,
       "r.example answers 403 for a:1 (DENIED: a [31m b)"},
      {429, R"({"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]})", Code::overloaded,
       "r.example answers 429 for a:1 (TOOMANYREQUESTS: slow)"},
      {500, R"({"errors":[]})", Code::registry_failed, "r.example answers 500 for a:1"},
      {502, R"({"errors":[{"message":"got hunter2, hunter2"}]})", Code::registry_failed,
       "r.example answers 502 for a:1 (got ***, ***)"},
      {400, R"({"errors":[{"code":7}]})", Code::registry_failed, "r.example answers 400 for a:1"},
      {307, "", Code::registry_failed, "r.example answers 307 for a:1"},
  };
  const std::vector<std::string> secrets = {"hunter2"};
  for (const auto& row : rows) {
    CAPTURE(row.body);
    const Error error = refusal_error(
        {.host = "r.example", .status = row.status, .body = row.body, .what = "a:1", .secrets = secrets});
    CHECK(error.code == row.code);
    CHECK(error.message == row.message);
  }
  const Error endless =
      refusal_error({.host = "r.example",
                     .status = 500,
                     .body = R"({"errors":[{"message":")" + std::string(10'000, 'x') + "\"}]}",
                     .what = "a:1"});
  CHECK(endless.message.size() < 400);
}

std::string described(const std::string& host, const Settings& settings) {
  const auto endpoints = endpoints_of(host, settings);
  if (!endpoints) return "error: " + endpoints.error().message;
  std::string out;
  for (const Endpoint& endpoint : *endpoints) {
    out += (out.empty() ? "" : " ") + std::string(endpoint.is_mirror ? "mirror " : "") + endpoint.host + "=" +
           endpoint.url("/v2/").text();
  }
  return out;
}

TEST_CASE("a host's servers are its mirrors and itself, with TLS unless configured otherwise") {
  Settings settings;
  settings.hosts["plain.example:5000"] = {.plain_http = true};
  settings.hosts["docker.io"] = {.mirrors = {"https://m.example", "http://localhost:5000/hub/"}};
  settings.hosts["moved.example"] = {.url = "https://api.example/prefix/v2/",
                                     .token_url = "https://t.example/"};
  settings.hosts["bad.example"] = {.url = "api.example"};
  settings.hosts["odd.example"] = {.mirrors = {"https://m.example/?x"}};
  CHECK(described("quay.io", settings) == "quay.io=https://quay.io/v2/");
  CHECK(described("localhost:5000", settings) == "localhost:5000=https://localhost:5000/v2/");
  CHECK(described("[::1]:5000", settings) == "[::1]:5000=https://[::1]:5000/v2/");
  CHECK(described("plain.example:5000", settings) == "plain.example:5000=http://plain.example:5000/v2/");
  CHECK(described("docker.io", settings) ==
        "mirror m.example=https://m.example/v2/ mirror localhost:5000=http://localhost:5000/hub/v2/ "
        "docker.io=https://registry-1.docker.io/v2/");
  CHECK(described("moved.example", settings) == "moved.example=https://api.example/prefix/v2/");
  CHECK(endpoints_of("moved.example", settings)->back().token_url->host == "t.example");
  CHECK(described("bad.example", settings).find("scheme is missing") != std::string::npos);
  CHECK(described("odd.example", settings).find("it has a query") != std::string::npos);
}

}  // namespace
}  // namespace lambdo::registry
