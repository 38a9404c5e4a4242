#include <atomic>
#include <string>

#include "fixture.h"
#include "test.h"

namespace lambdo::registry {
namespace {

TEST_CASE("what may pass is tried again, and then works") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  const struct {
    const char* name;
    Reply first;
  } rows[] = {
      {"429 with seconds", refusal(429, "TOOMANYREQUESTS", "slow down", {{"Retry-After", "0"}})},
      {"429 with a date", reply(429, "", {{"Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"}})},
      {"429 alone", reply(429)},
      {"503", reply(503, "", {{"Retry-After", "nonsense"}})},
      {"500", reply(500)},
      {"502", reply(502, "<html>bad gateway</html>")},
      {"408", reply(408)},
      {"no answer", Reply{}},
      {"half a head", Reply{.bytes = "HTTP/1.1 200 OK\r\nConte"}},
      {"half a body", Reply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"}},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    std::atomic<int> requests = 0;
    ScriptedServer server([&](const SeenRequest& request) {
      return request.target.contains("/manifests/") && requests++ < 2 ? row.first : shelf.serve(request);
    });
    TestClient client({server.host()});
    const auto fetched = client.manifest(server.host() + "/app:1");
    REQUIRE_MESSAGE(fetched, fetched.error().message);
    CHECK(requests == 3);
  }
}

TEST_CASE("Retry-After is waited for") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  std::atomic<int> requests = 0;
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.target.contains("/manifests/") && requests++ == 0)
      return reply(429, "", {{"Retry-After", "1"}});
    return shelf.serve(request);
  });
  TestClient client({server.host()});
  const int64_t start_ns = client.reactor().now_ns();
  REQUIRE(client.manifest(server.host() + "/app:1"));
  CHECK(client.reactor().now_ns() - start_ns >= 1'000'000'000);
}

TEST_CASE("a registry that asks to wait too long, or for ever, is overloaded") {
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.target == "/v2/") return reply(200);
    if (request.target.contains("/long/")) {
      return refusal(429, "TOOMANYREQUESTS", "pull limit", {{"Retry-After", "21600"}});
    }
    return refusal(429, "TOOMANYREQUESTS", "pull limit");
  });
  TestClient client({server.host()});
  const auto too_long = client.manifest(server.host() + "/long:1");
  REQUIRE(!too_long);
  CHECK(too_long.error().code == Code::overloaded);
  CHECK(says(too_long.error(), "(TOOMANYREQUESTS: pull limit); it asks to wait 21600 s"));
  CHECK(server.count("/long/") == 1);
  const auto for_ever = client.manifest(server.host() + "/ever:1");
  REQUIRE(!for_ever);
  CHECK(for_ever.error().code == Code::overloaded);
  CHECK(server.count("/ever/") == 5);
}

TEST_CASE("a ping that fails for a while is tried again too") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  std::atomic<int> pings = 0;
  ScriptedServer server([&](const SeenRequest& request) {
    return request.target == "/v2/" && pings++ < 2 ? reply(503) : shelf.serve(request);
  });
  TestClient client({server.host()});
  CHECK(client.manifest(server.host() + "/app:1"));
  CHECK(pings == 3);
}

TEST_CASE("mirrors come first, and what they do not have or cannot give comes from the registry") {
  Shelf full;
  full.add_image("library/app", "1", "layer");
  const Shelf empty;
  std::atomic<bool> mirror_has_it = true;
  std::atomic<bool> mirror_works = true;
  ScriptedServer mirror([&](const SeenRequest& request) {
    if (!mirror_works && request.target != "/v2/") return reply(500);
    return (mirror_has_it ? full : empty).serve(request);
  });
  ScriptedServer origin([&](const SeenRequest& request) { return full.serve(request); });
  Settings settings = TestClient::quick_settings();
  settings.hosts["docker.io"] = {.url = "http://" + origin.host(), .mirrors = {"http://" + mirror.host()}};
  TestClient client({}, settings);

  CHECK(client.manifest("app:1"));
  CHECK(origin.count("/") == 0);

  mirror_has_it = false;
  CHECK(client.manifest("app:1"));
  CHECK(origin.count("/library/app/") == 1);
  CHECK(client.manifest("app:2").error().code == Code::not_found);

  mirror_works = false;
  CHECK(client.manifest("app:1"));
  const size_t asked = mirror.count("/library/app/");
  // It has failed, and is left alone for a while.
  CHECK(client.manifest("app:1"));
  CHECK(mirror.count("/library/app/") == asked);
  CHECK(origin.count("/library/app/") == 4);
}

TEST_CASE(
    "a blob goes on at the registry where the mirror broke off, and a wrong manifest is asked for again") {
  Shelf shelf;
  const std::string content = sample_text(500'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  const Descriptor image = shelf.add_image("app", "1", "layer");
  ScriptedServer mirror([&](const SeenRequest& request) {
    Reply whole = shelf.serve(request);
    if (request.target.contains("/manifests/")) return reply(200, "{}");
    if (!request.target.contains("/blobs/")) return whole;
    if (!request.header("range").empty()) return reply(404);
    whole.bytes.resize(whole.bytes.size() / 2);
    return whole;
  });
  ScriptedServer origin([&](const SeenRequest& request) { return shelf.serve(request); });
  Settings settings = TestClient::quick_settings();
  settings.hosts["r.example"] = {.url = "http://" + origin.host(), .mirrors = {"http://" + mirror.host()}};
  TestClient client({}, settings);
  CHECK(client.blob("r.example/app", blob).value() == content);
  REQUIRE(origin.count("/blobs/") == 1);
  CHECK(origin.seen().back().header("range").starts_with("bytes="));
  CHECK(client.manifest("r.example/app@" + image.digest.text()).value().digest == image.digest);
}

TEST_CASE("what a mirror gives in place of a blob is thrown away, and the registry asked for all of it") {
  Shelf shelf;
  const std::string content = sample_text(500'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  std::string damaged = content;
  damaged[5] = static_cast<char>(damaged[5] ^ 1);
  const std::string chunk = "40000\r\n" + content.substr(0, 0x40000) + "\r\n";
  const HeaderList chunked = {{"Transfer-Encoding", "chunked"}};
  Reply half = reply(200, damaged);
  half.bytes.resize(half.bytes.size() / 2);
  const struct {
    const char* name;
    Reply said;
    size_t asked_of_registry;
  } rows[] = {
      {"another digest", reply(200, damaged), 1},
      {"the first half of another", half, 2},
      {"all of another, but for its end", Reply{.bytes = "HTTP/1.1 200 OK\r\n\r\n" + damaged}, 1},
      {"less", reply(200, chunk + "0\r\n\r\n", chunked), 1},
      {"more", reply(200, chunk + chunk + "0\r\n\r\n", chunked), 1},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    ScriptedServer mirror([&](const SeenRequest& request) {
      if (request.target == "/v2/") return reply(200);
      return request.header("range").empty() ? row.said : reply(500);
    });
    ScriptedServer origin([&](const SeenRequest& request) { return shelf.serve(request); });
    Settings settings = TestClient::quick_settings();
    settings.hosts["r.example"] = {.url = "http://" + origin.host(), .mirrors = {"http://" + mirror.host()}};
    TestClient client({}, settings);
    MemorySink sink;
    const auto outcome = client.blob_into("r.example/app", blob, sink);
    REQUIRE_MESSAGE(outcome, outcome.error().message);
    CHECK(sink.content == content);
    CHECK(sink.restarts == 1);
    CHECK(origin.count("/blobs/") == row.asked_of_registry);
    const size_t asked = mirror.count("/blobs/");
    CHECK(client.blob("r.example/app", blob).value() == content);
    CHECK(mirror.count("/blobs/") == asked);
  }
}

TEST_CASE("wrong content names the server that gave it") {
  const std::string content = sample_text(1000);
  const Descriptor blob{.media_type = std::string(media_type::kOciLayer),
                        .digest = Digest::of("other"),
                        .size_bytes = content.size()};
  ScriptedServer origin([&](const SeenRequest&) { return reply(200, content); });
  Settings settings = TestClient::quick_settings();
  settings.hosts["r.example"] = {.url = "http://" + origin.host()};
  TestClient client({}, settings);
  const auto outcome = client.blob("r.example/app", blob);
  REQUIRE(!outcome);
  CHECK(outcome.error().code == Code::digest_mismatch);
  CHECK(outcome.error().message.contains(" from r.example: the content has the digest"));
}

}  // namespace
}  // namespace lambdo::registry
