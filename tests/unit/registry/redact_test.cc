#include "registry/redact.h"

#include <string>

#include "base/text.h"
#include "fixture.h"
#include "registry/registry_error.h"
#include "test.h"

namespace lambdo::registry {
namespace {

TEST_CASE("secrets are taken out wherever they stand, in any case, and cut ones too") {
  const std::vector<std::string> secrets = {"hunter2", "a-longer-secret"};
  const struct {
    std::string_view text;
    std::string_view shown;
  } rows[] = {
      {"", ""},
      {"nothing", "nothing"},
      {"hunter2", "***"},
      {"x hunter2hunter2 HUNTER2", "x ****** ***"},
      {"hunter", "hunter"},
      {"a-longer-secret!", "***!"},
      {"it was a-longer-sec", "it was ***"},
      {"a-longe", "a-longe"},
  };
  for (const auto& row : rows) CHECK(redacted(row.text, secrets) == row.shown);
}

TEST_CASE("of a credential every spelling is a secret") {
  const Credential credential{.user = "me", .password = "p/w d", .identity_token = "to+ken"};
  const std::vector<std::string> secrets = secrets_of(credential);
  for (const std::string& text : {std::string("p/w d"), std::string("p%2Fw%20d"), base64_encode("me:p/w d"),
                                  std::string("to+ken"), std::string("to%2Bken")}) {
    CAPTURE(text);
    CHECK(!redacted("<" + text + ">", secrets).contains(text));
  }
  CHECK(secrets_of({}).empty());
}

TEST_CASE("a secret that stands where the words are cut does not show its beginning") {
  const std::string secret = "sesame-open-the-door";
  const std::vector<std::string> secrets = {secret};
  for (size_t before = 280; before <= 300; ++before) {
    const std::string body =
        R"({"errors":[{"code":")" + secret + R"(","message":")" + std::string(before, 'x') + secret + "\"}]}";
    const Error error =
        refusal_error({.host = "r", .status = 401, .body = body, .what = "w", .secrets = secrets});
    CAPTURE(error.message);
    CHECK(!error.message.contains("se"));
  }
}

/// A registry that repeats all it was sent, in a place of the answer that ends up in a message.
TEST_CASE("what a server repeats of an authorization is in no message") {
  const std::string encoded = base64_encode("me:correct-horse");
  const struct {
    const char* name;
    Reply (*said)(const std::string& authorization);
  } rows[] = {
      {"the body, decoded",
       [](const std::string& sent) {
         return refusal(403, "DENIED", "no: " + *base64_decode(sent.substr(6)));
       }},
      {"the body, as it came", [](const std::string& sent) { return refusal(500, sent, "x"); }},
      {"a media type",
       [](const std::string& sent) { return reply(200, "{}", {{"Content-Type", "a/" + sent.substr(6)}}); }},
      {"the name of a scheme",
       [](const std::string& sent) { return reply(401, "", {{"WWW-Authenticate", sent.substr(6)}}); }},
      {"a document's media type",
       [](const std::string& sent) {
         return reply(200, R"({"schemaVersion":2,"mediaType":"a/)" + sent.substr(6) + "\"}");
       }},
      {"a redirect",
       [](const std::string& sent) {
         return reply(307, "", {{"Location", "http://127.0.0.1:1/" + sent.substr(6)}});
       }},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    ScriptedServer server([&](const SeenRequest& request) {
      const std::string authorization = request.header("authorization");
      if (authorization.empty()) return reply(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
      return row.said(authorization);
    });
    Settings settings = TestClient::quick_settings();
    settings.max_attempts = 1;
    settings.credentials[server.host()] = {.user = "me", .password = "correct-horse"};
    TestClient client({server.host()}, settings);
    const auto fetched = client.manifest(server.host() + "/app:1");
    REQUIRE(!fetched);
    const std::string said = to_lower(fetched.error().message);
    CAPTURE(said);
    CHECK(!said.contains(to_lower(encoded).substr(0, 8)));
    CHECK(!said.contains("correct-horse"));
  }
}

}  // namespace
}  // namespace lambdo::registry
