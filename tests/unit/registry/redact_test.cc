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

std::string password_in(const std::string& authorization) {
  return base64_decode(authorization.substr(6))->substr(3);
}

const std::string kNoDigest = "sha256:" + std::string(64, '0');

std::string descriptor(const std::string& type, const std::string& digest) {
  return R"({"size":1,"mediaType":")" + type + R"(","digest":")" + digest + "\"}";
}

std::string document(const std::string& fields) {
  return R"({"schemaVersion":2,)" + fields + "}";
}

/// A registry that repeats all it was sent, in a place of the answer that ends up in a message.
TEST_CASE("what a server repeats of an authorization is in no message") {
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
      {"a media type, decoded",
       [](const std::string& sent) {
         return reply(200, R"({"schemaVersion":2})", {{"Content-Type", "a/" + password_in(sent)}});
       }},
      {"a document's media type, decoded",
       [](const std::string& sent) {
         return reply(200, R"({"schemaVersion":2,"mediaType":"a/)" + password_in(sent) + "\"}");
       }},
      {"a configuration's media type",
       [](const std::string& sent) {
         return reply(200, document(R"("config":)" + descriptor("a/" + password_in(sent), kNoDigest)));
       }},
      {"a layer's media type",
       [](const std::string& sent) {
         const std::string config = descriptor(std::string(media_type::kOciConfig), kNoDigest);
         return reply(200, document(R"("config":)" + config + R"(,"layers":[)" +
                                    descriptor("a/" + password_in(sent), kNoDigest) + "]"));
       }},
      {"a digest's algorithm",
       [](const std::string& sent) {
         return reply(200, document(R"("config":)" + descriptor("a/b", password_in(sent) + ":00")));
       }},
      {"a platform",
       [](const std::string& sent) {
         const std::string entry = descriptor(std::string(media_type::kOciManifest), kNoDigest);
         return reply(200,
                      document(R"("manifests":[)" + entry.substr(0, entry.size() - 1) +
                               R"(,"platform":{"os":"x","architecture":")" + password_in(sent) + "\"}}]"));
       }},
      {"a redirect's path, which redirects to nowhere",
       [](const std::string& sent) { return reply(307, "", {{"Location", "/v2/x" + password_in(sent)}}); }},
      {"a redirect's host",
       [](const std::string& sent) {
         return reply(307, "", {{"Location", "http://" + password_in(sent) + ".invalid/"}});
       }},
  };
  // One so short that it could be a word of ours, and one that is not.
  for (const std::string password : {"pin7", "correct-horse"})
    for (const auto& row : rows) {
      CAPTURE(row.name);
      CAPTURE(password);
      const std::string encoded = base64_encode("me:" + password);
      ScriptedServer server([&](const SeenRequest& request) {
        const std::string authorization = request.header("authorization");
        if (authorization.empty()) return reply(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
        return row.said(authorization);
      });
      Settings settings = TestClient::quick_settings();
      settings.max_attempts = 1;
      settings.credentials[server.host()] = {.user = "me", .password = password};
      TestClient client({server.host()}, settings);
      const auto fetched = client.manifest(server.host() + "/app:1");
      REQUIRE(!fetched);
      const std::string said = to_lower(fetched.error().message);
      CAPTURE(said);
      CHECK(!said.contains(to_lower(encoded).substr(0, 8)));
      CHECK(!said.contains(password));
    }
}

}  // namespace
}  // namespace lambdo::registry
