#include <atomic>
#include <string>

#include "fixture.h"
#include "registry/minimum_rate.h"
#include "test.h"

namespace lambdo::registry {
namespace {

Settings impatient_settings() {
  Settings settings = TestClient::quick_settings();
  settings.rate_window_ms = 100;
  settings.answer_timeout_ms = 200;
  return settings;
}

/// A head that promises a long body, and then a byte now and then.
Reply drip(int status, const HeaderList& more = {}) {
  HeaderList headers = {{"Content-Length", "1000000"}};
  headers.insert(headers.end(), more.begin(), more.end());
  Reply said = reply(status, "", headers);
  said.drip_ms = 10;
  return said;
}

TEST_CASE("a blob that drips is given up and asked for again, where it was, a bounded number of times") {
  Shelf shelf;
  const std::string content = sample_text(1'000'000);
  const Descriptor blob = shelf.add_blob("app", content, media_type::kOciLayer);
  const Descriptor never{.media_type = blob.media_type, .digest = Digest::of("x"), .size_bytes = 1'000'000};
  std::atomic<int> requests = 0;
  ScriptedServer server([&](const SeenRequest& request) {
    if (request.target.ends_with(never.digest.text())) {
      if (request.header("range").empty()) return drip(200);
      const std::string range = request.header("range");
      const std::string first = range.substr(6, range.find('-') - 6);
      const std::string length = std::to_string(1'000'000 - std::stoi(first));
      Reply said = reply(
          206, "", {{"Content-Length", length}, {"Content-Range", "bytes " + first + "-999999/1000000"}});
      said.drip_ms = 10;
      return said;
    }
    Reply whole = shelf.serve(request);
    if (!request.target.contains("/blobs/") || requests++ > 0) return whole;
    whole.slow = whole.bytes.substr(whole.bytes.size() / 2);
    whole.bytes.resize(whole.bytes.size() / 2);
    whole.drip_ms = 10;
    return whole;
  });
  TestClient client({server.host()}, impatient_settings());

  const auto got_never = client.blob(server.host() + "/app", never);
  REQUIRE(!got_never);
  CHECK(got_never.error().code == Code::timeout);
  CHECK_MESSAGE(got_never.error().message.contains("comes too slowly"), got_never.error().message);
  CHECK(got_never.error().message.contains("less than 4096 bytes a second"));
  CHECK(got_never.error().message.contains(" from " + server.host()));
  CHECK(server.count("/blobs/") == 5);

  const auto fetched = client.blob(server.host() + "/app", blob);
  REQUIRE_MESSAGE(fetched, fetched.error().message);
  CHECK(*fetched == content);
  CHECK(requests == 2);
  CHECK(server.seen().back().header("range").starts_with("bytes="));
}

TEST_CASE("a slow reader is not a slow server") {
  Settings settings;
  settings.rate_window_ms = 1000;
  settings.min_blob_bytes_per_s = 1000;
  MinimumRate rate(settings);
  // Waits of a millisecond: the window's second is over after a thousand of them, whatever passes between.
  for (int i = 0; i < 5000; ++i) CHECK(rate.note(1, 1'000'000));
  // Exactly as much as is wanted, then a byte less.
  CHECK(rate.note(2000, 2'000'000'000));
  CHECK(rate.note(999, 999'000'000));
  CHECK(rate.note(0, 1'000'000).error().code == Code::timeout);
  // What came fast in an earlier window does not make up for a slow one.
  MinimumRate other(settings);
  CHECK(other.note(1'000'000, 1'000'000'000));
  CHECK(!other.note(999, 1'000'000'000));
  settings.rate_window_ms = 0;
  CHECK(rate.note(0, 1'000'000'000'000));
}

TEST_CASE("manifests, tokens, pings and refusals that drip end at their time limit") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  const struct {
    const char* name;
    std::string_view part;  ///< of the requests that drip
    Reply said;
    Code code;
    std::string_view text;
  } rows[] = {
      {"a manifest", "/manifests/", drip(200), Code::timeout, "fetching app:1 from "},
      {"a manifest's refusal", "/manifests/", drip(404), Code::not_found, "answers 404"},
      {"a ping's refusal", "/v2/", drip(503), Code::registry_failed, "answers 503"},
      {"a token", "/token", drip(200), Code::timeout, "took longer than 200 ms"},
      {"a token's refusal", "/token", drip(403), Code::timeout, "took longer than 200 ms"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.name);
    ScriptedServer server([&](const SeenRequest& request) {
      if (request.target.contains(row.part) && (row.part != "/v2/" || request.target == "/v2/"))
        return row.said;
      if (row.part == "/token") {
        return reply(401, "",
                     {{"WWW-Authenticate", "Bearer realm=\"http://" + request.header("host") + "/token\""}});
      }
      return shelf.serve(request);
    });
    Settings settings = impatient_settings();
    settings.max_attempts = 2;
    TestClient client({server.host()}, settings);
    const int64_t start_ns = client.reactor().now_ns();
    const auto fetched = client.manifest(server.host() + "/app:1");
    REQUIRE(!fetched);
    CHECK(fetched.error().code == row.code);
    CHECK_MESSAGE(fetched.error().message.contains(row.text), fetched.error().message);
    CHECK(client.reactor().now_ns() - start_ns < 5'000'000'000);
    // What may pass is tried again.
    CHECK(server.count(row.part) >= (row.code == Code::not_found ? 1U : 2U));
  }
}

}  // namespace
}  // namespace lambdo::registry
