#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/text.h"
#include "fixture.h"
#include "scratch.h"
#include "test.h"

namespace lambdo::registry {
namespace {

HeaderList bearer_challenge(const std::string& realm, const std::string& more = "") {
  return {{"WWW-Authenticate", "Bearer realm=\"" + realm + "\",service=\"test\"" + more}};
}

/// A registry that wants a token, which a server of its own gives. Tokens are "token-1", "token-2"...
class TokenRegistry {
 public:
  TokenRegistry()
      : tokens_([this](const SeenRequest& request) { return give(request); }),
        registry_([this](const SeenRequest& request) { return serve(request); }) {}

  Shelf shelf;
  Descriptor image = shelf.add_image("app", "1", "layer");
  Descriptor blob = shelf.add_blob("app", sample_text(400'000), media_type::kOciLayer);
  std::atomic<int> given = 0;
  std::atomic<int> valid_from = 1;  ///< tokens before this one are refused
  std::atomic<int> lifetime_s = 300;
  std::atomic<int> token_status = 200;

  [[nodiscard]] const ScriptedServer& tokens() const { return tokens_; }
  [[nodiscard]] const ScriptedServer& server() const { return registry_; }
  [[nodiscard]] std::string reference() const { return registry_.host() + "/app:1"; }

 private:
  Reply give(const SeenRequest& request) {
    if (token_status != 200) {
      return refusal(token_status, "DENIED", "you sent " + request.header("authorization") + request.body);
    }
    return reply(200, R"({"token":"token-)" + std::to_string(++given) + R"(","expires_in":)" +
                          std::to_string(lifetime_s) + "}");
  }
  Reply serve(const SeenRequest& request) {
    const std::string authorization = request.header("authorization");
    const std::string prefix = "Bearer token-";
    const bool valid =
        authorization.starts_with(prefix) &&
        parse_uint(authorization.substr(prefix.size())).value_or(0) >= static_cast<uint64_t>(valid_from);
    if (!valid) {
      return refusal(401, "UNAUTHORIZED", "authentication required",
                     bearer_challenge("http://" + tokens_.host() + "/token"));
    }
    return shelf.serve(request);
  }

  ScriptedServer tokens_;
  ScriptedServer registry_;
};

TEST_CASE("one token serves all requests for a repository, and is asked for with service and scope") {
  TokenRegistry registry;
  TestClient client({registry.server().host()});
  const auto fetched = client.manifest(registry.reference());
  REQUIRE_MESSAGE(fetched, fetched.error().message);
  CHECK(client.blob(registry.reference(), registry.blob));
  CHECK(registry.given == 1);
  REQUIRE(registry.tokens().seen().size() == 1);
  CHECK(registry.tokens().seen()[0].target == "/token?scope=repository%3Aapp%3Apull&service=test");
  CHECK(!registry.tokens().has_seen("Basic"));
  // The ping, then each request once.
  CHECK(registry.server().seen().size() == 3);
}

TEST_CASE("a token that ends is renewed before, and one that is refused mid-pull at once") {
  TokenRegistry registry;
  TestClient client({registry.server().host()});
  REQUIRE(client.manifest(registry.reference()));
  registry.valid_from = 2;
  CHECK(client.blob(registry.reference(), registry.blob));
  CHECK(registry.given == 2);
  registry.lifetime_s = 0;
  registry.valid_from = 3;
  CHECK(client.manifest(registry.reference()));
  CHECK(client.manifest(registry.reference()));
  CHECK(registry.given == 4);
}

TEST_CASE("a registry that accepts no token ends with unauthorized, and is not asked for ever") {
  TokenRegistry registry;
  registry.valid_from = 1'000'000;
  TestClient client({registry.server().host()});
  const auto fetched = client.manifest(registry.reference());
  REQUIRE(!fetched);
  CHECK(fetched.error().code == Code::unauthorized);
  CHECK(says(fetched.error(), "UNAUTHORIZED: authentication required"));
  CHECK(says(fetched.error(), "no credentials for " + registry.server().host() + " are known"));
  CHECK(registry.server().count("/manifests/") == 2);
  CHECK(!says(fetched.error(), "token-"));
}

TEST_CASE("credentials go to the token server, and to nobody else") {
  TokenRegistry registry;
  Settings settings = TestClient::quick_settings();
  settings.credentials[registry.server().host()] = {.user = "me", .password = "hunter2"};
  TestClient client({registry.server().host()}, settings);
  REQUIRE(client.manifest(registry.reference()));
  const std::string basic = "Basic " + base64_encode("me:hunter2");
  CHECK(registry.tokens().seen()[0].header("authorization") == basic);
  CHECK(registry.tokens().seen()[0].target.ends_with("&account=me"));
  CHECK(!registry.server().has_seen("Basic"));
}

TEST_CASE("an identity token is exchanged by POST") {
  TokenRegistry registry;
  Settings settings = TestClient::quick_settings();
  settings.credentials[registry.server().host()] = {.identity_token = "hunter2"};
  TestClient client({registry.server().host()}, settings);
  REQUIRE(client.manifest(registry.reference()));
  const SeenRequest seen = registry.tokens().seen()[0];
  CHECK(seen.method == "POST");
  CHECK(seen.body.contains("grant_type=refresh_token"));
  CHECK(seen.body.contains("refresh_token=hunter2"));
  CHECK(!registry.server().has_seen("hunter2"));
}

TEST_CASE("a token server's refusal is the error, without the secret that it repeats") {
  const struct {
    int status;
    Code code;
    int requests;
  } rows[] = {{401, Code::unauthorized, 1},
              {403, Code::unauthorized, 1},
              {404, Code::registry_failed, 1},
              {429, Code::overloaded, 5},
              {500, Code::registry_failed, 5}};
  for (const auto& row : rows) {
    CAPTURE(row.status);
    TokenRegistry registry;
    registry.token_status = row.status;
    Settings settings = TestClient::quick_settings();
    settings.credentials[registry.server().host()] = {.identity_token = "hunter2"};
    TestClient client({registry.server().host()}, settings);
    const auto fetched = client.manifest(registry.reference());
    REQUIRE(!fetched);
    CHECK(fetched.error().code == row.code);
    CHECK(!says(fetched.error(), "hunter2"));
    CHECK(registry.tokens().seen().size() == static_cast<size_t>(row.requests));
  }
}

TEST_CASE("a token server that is configured is used in place of the challenge's") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  ScriptedServer tokens([](const SeenRequest&) { return reply(200, R"({"access_token":"mine"})"); });
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.header("authorization") == "Bearer mine") return shelf.serve(request);
    return reply(401, "", bearer_challenge("http://127.0.0.1:1/elsewhere"));
  });
  Settings settings = TestClient::quick_settings();
  settings.hosts[server.host()].token_url = "http://" + tokens.host() + "/mine";
  TestClient client({server.host()}, settings);
  CHECK(client.manifest(server.host() + "/app:1"));
  CHECK(tokens.count("/mine?scope=") == 1);
}

TEST_CASE("Basic is given where it is wanted, and what is refused is not shown") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  const std::string right = "Basic " + base64_encode("me:right");
  ScriptedServer server([&](const SeenRequest& request) {
    const std::string authorization = request.header("authorization");
    if (authorization == right) return shelf.serve(request);
    return refusal(401, "UNAUTHORIZED", "got " + authorization, {{"WWW-Authenticate", "Basic realm=\"x\""}});
  });
  Settings settings = TestClient::quick_settings();
  settings.credentials[server.host()] = {.user = "me", .password = "right"};
  TestClient client({server.host()}, settings);
  CHECK(client.manifest(server.host() + "/app:1"));
  CHECK(server.seen().size() == 2);

  settings.credentials[server.host()].password = "wrong";
  TestClient wrong({server.host()}, settings);
  const auto refused = wrong.manifest(server.host() + "/app:1");
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::unauthorized);
  CHECK(says(refused.error(), "got Basic ***"));
  CHECK(says(refused.error(), "may be wrong"));
  CHECK(!says(refused.error(), base64_encode("me:wrong")));

  TestClient anonymous({server.host()});
  const auto nobody = anonymous.manifest(server.host() + "/app:1");
  REQUIRE(!nobody);
  CHECK(nobody.error().code == Code::unauthorized);
  CHECK(says(nobody.error(), "wants a user and a password; no credentials"));
}

TEST_CASE("credentials come from Docker's configuration") {
  const ScratchFolder folder;
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.header("authorization") == "Basic " + base64_encode("me:secret")) return shelf.serve(request);
    return reply(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
  });
  folder.write("config.json",
               R"({"auths":{")" + server.host() + R"(":{"auth":")" + base64_encode("me:secret") + "\"}}}");
  Settings settings = TestClient::quick_settings();
  settings.docker_config_folder = folder.path();
  TestClient client({server.host()}, settings);
  CHECK(client.manifest(server.host() + "/app:1"));
}

TEST_CASE("a damaged configuration is told where credentials turn out to be wanted") {
  const ScratchFolder folder;
  folder.write("config.json", "{");
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  ScriptedServer open([&](const SeenRequest& request) { return shelf.serve(request); });
  ScriptedServer shut(
      [](const SeenRequest&) { return reply(401, "", {{"WWW-Authenticate", "Basic realm=x"}}); });
  Settings settings = TestClient::quick_settings();
  settings.docker_config_folder = folder.path();
  TestClient client({open.host(), shut.host()}, settings);
  CHECK(client.manifest(open.host() + "/app:1"));
  const auto refused = client.manifest(shut.host() + "/app:1");
  REQUIRE(!refused);
  CHECK(says(refused.error(), "config.json: the file is not JSON"));
}

TEST_CASE("challenges that cannot be met are refused") {
  const struct {
    HeaderList headers;
    Code code;
    std::string_view text;
  } rows[] = {
      {{}, Code::unauthorized, "names none"},
      {{{"WWW-Authenticate", "Negotiate"}}, Code::unauthorized, "negotiate"},
      {{{"WWW-Authenticate", "Bearer service=\"x\""}}, Code::unauthorized, "bearer"},
      {{{"WWW-Authenticate", "Bearer realm=\"/token\""}}, Code::registry_failed, "no URL"},
      {{{"WWW-Authenticate", "Bearer realm=\"ftp://a/\""}}, Code::registry_failed, "no URL"},
      {{{"WWW-Authenticate", "Bearer realm=\""}}, Code::registry_failed, "malformed"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    ScriptedServer server([&](const SeenRequest&) { return reply(401, "", row.headers); });
    TestClient client({server.host()});
    const auto fetched = client.manifest(server.host() + "/app:1");
    REQUIRE(!fetched);
    CHECK(fetched.error().code == row.code);
    CHECK_MESSAGE(says(fetched.error(), row.text), fetched.error().message);
  }
}

TEST_CASE("of several challenges in several fields the best that can be met is taken") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  ScriptedServer tokens([](const SeenRequest&) { return reply(200, R"({"token":"t"})"); });
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.header("authorization") == "Bearer t") return shelf.serve(request);
    return reply(401, "",
                 {{"WWW-Authenticate", "\"odd"},
                  {"www-authenticate", "Negotiate, Basic realm=\"x\""},
                  {"WWW-Authenticate", "bearer Realm = \"http://" + tokens.host() + "/\" , error=\"x\""}});
  });
  TestClient client({server.host()});
  CHECK(client.manifest(server.host() + "/app:1"));
}

TEST_CASE("authorization never follows a redirect to another host, and a 401 there is not obeyed") {
  Shelf shelf;
  const Descriptor blob = shelf.add_blob("app", sample_text(100'000), media_type::kOciLayer);
  std::atomic<bool> greedy = false;
  ScriptedServer thief([&](const SeenRequest& request) {
    if (greedy || request.target == "/token") {
      return reply(401, "", {{"WWW-Authenticate", "Basic realm=\"give\""}});
    }
    return shelf.serve(request);
  });
  const std::string right = "Basic " + base64_encode("me:hunter2");
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.header("authorization") != right)
      return reply(401, "", {{"WWW-Authenticate", "Basic realm=x"}});
    if (request.target == "/v2/") return reply(200);
    return reply(307, "", {{"Location", "http://" + thief.host() + request.target}});
  });
  Settings settings = TestClient::quick_settings();
  settings.credentials[server.host()] = {.user = "me", .password = "hunter2"};
  settings.credentials[thief.host()] = {.user = "me", .password = "other"};
  TestClient client({server.host()}, settings);
  CHECK(client.blob(server.host() + "/app", blob));
  CHECK(thief.seen().size() == 1);
  greedy = true;
  const auto refused = client.blob(server.host() + "/app", blob);
  REQUIRE(!refused);
  CHECK(refused.error().code == Code::unauthorized);
  CHECK(says(refused.error(), thief.host() + " answers 401"));
  for (const SeenRequest& request : thief.seen()) CHECK(request.headers.count("authorization") == 0);
}

TEST_CASE("a redirect loop is refused") {
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.target == "/v2/") return reply(200);
    return reply(302, "", {{"Location", request.target}});
  });
  TestClient client({server.host()});
  const auto fetched = client.manifest(server.host() + "/app:1");
  REQUIRE(!fetched);
  CHECK(fetched.error().code == Code::redirect_refused);
}

TEST_CASE("an expired link of another host is asked for again at the registry") {
  Shelf shelf;
  const Descriptor blob = shelf.add_blob("app", sample_text(100'000), media_type::kOciLayer);
  ScriptedServer storage([&](const SeenRequest& request) {
    if (request.target.ends_with("old")) return reply(403, "<Error>expired</Error>");
    SeenRequest plain = request;
    plain.target = request.target.substr(0, request.target.find('?'));
    return shelf.serve(plain);
  });
  std::atomic<int> links = 0;
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.target == "/v2/") return reply(200);
    const std::string link = "http://" + storage.host() + request.target + (links++ == 0 ? "?old" : "?new");
    return reply(307, "", {{"Location", link}});
  });
  TestClient client({server.host()});
  CHECK(client.blob(server.host() + "/app", blob));
  CHECK(links == 2);
}

// The addresses of this machine are all private ones, so a registry "of the Internet" needs a network of its
// own, in which a public address is this machine's.
constexpr const char* kPublicAddress = "198.41.0.4";

TEST_CASE("a registry of the Internet cannot send for tokens, or for blobs, to a private address" *
          doctest::skip(std::getenv("LAMBDO_TEST_OWN_NETWORK") == nullptr)) {
  ScriptedServer inside([](const SeenRequest&) { return reply(200, R"({"token":"t"})"); });
  ScriptedServer outside(
      [&](const SeenRequest& request) {
        if (request.target.contains("/redirects/")) {
          return reply(307, "", {{"Location", "http://" + inside.host() + "/"}});
        }
        if (request.target == "/v2/" || request.target.contains("/open/")) return reply(200);
        return reply(401, "", bearer_challenge("http://" + inside.host() + "/token"));
      },
      kPublicAddress);
  TestClient client({outside.host()});
  const auto token = client.manifest(outside.host() + "/app:1");
  REQUIRE(!token);
  CHECK_MESSAGE(token.error().code == Code::permission_denied, token.error().message);
  TestClient other({outside.host()});
  const auto redirect = other.manifest(outside.host() + "/redirects/app:1");
  REQUIRE(!redirect);
  CHECK_MESSAGE(redirect.error().code == Code::redirect_refused, redirect.error().message);
  CHECK(inside.seen().empty());
}

TEST_CASE("the tests of public addresses pass in a network of their own") {
  if (std::getenv("LAMBDO_TEST_OWN_NETWORK") != nullptr) return;
  const std::string inner = "ip link set lo up && ip address add " + std::string(kPublicAddress) +
                            "/32 dev lo && LAMBDO_TEST_OWN_NETWORK=1 exec " +
                            std::filesystem::read_symlink("/proc/self/exe").string() +
                            " --no-version -tc='a registry of the Internet*'";
  const int probe = std::system("unshare -rn ip link set lo up 2>/dev/null");
  if (probe != 0) {
    MESSAGE("SKIPPED: network namespaces are not allowed here, so private addresses go untested");
    return;
  }
  CHECK(std::system(("unshare -rn sh -c \"" + inner + "\"").c_str()) == 0);
}

}  // namespace
}  // namespace lambdo::registry
