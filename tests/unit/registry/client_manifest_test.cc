#include <string>
#include <vector>

#include "fixture.h"
#include "test.h"

namespace lambdo::registry {
namespace {

constexpr auto kManifest = media_type::kOciManifest;
constexpr auto kIndex = media_type::kOciIndex;

TEST_CASE("a manifest comes by tag and by digest, with its exact bytes") {
  Shelf shelf;
  const Descriptor image = shelf.add_image("team/app", "1.0", "layer");
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({server.host()});
  for (const std::string& selector : {std::string(":1.0"), "@" + image.digest.text()}) {
    CAPTURE(selector);
    const auto fetched = client.manifest(server.host() + "/team/app" + selector);
    REQUIRE_MESSAGE(fetched, fetched.error().message);
    CHECK(fetched->digest == image.digest);
    CHECK(Digest::of(fetched->json) == image.digest);
    CHECK(fetched->media_type == kManifest);
    CHECK(!fetched->index);
    REQUIRE(fetched->manifest.layers.size() == 1);
    CHECK(client.blob(server.host() + "/team/app" + selector, fetched->manifest.layers[0]).value() ==
          "layer");
  }
  for (const SeenRequest& request : server.seen()) {
    CHECK(request.headers.count("authorization") == 0);
    if (!request.target.contains("/manifests/")) continue;
    for (const std::string_view type :
         {kManifest, kIndex, media_type::kDockerManifest, media_type::kDockerIndex}) {
      CHECK(request.header("accept").contains(type));
    }
  }
  CHECK(server.count("/v2/team") == 4);
}

TEST_CASE("an index gives the manifest for the platform, past attestations and through nested indexes") {
  Shelf shelf;
  const Descriptor amd = shelf.add_image("app", "amd", "amd");
  const Descriptor arm = shelf.add_image("app", "arm", "arm");
  const Descriptor inner = shelf.add_document(
      "app", "", index_json({descriptor_json(arm, Platform{"linux", "arm64", "v8"})}), kIndex);
  const Descriptor attestation = shelf.add_image("app", "attestation", "x");
  const Descriptor index = shelf.add_document(
      "app", "1",
      index_json({descriptor_json(attestation, Platform{"unknown", "unknown", ""}),
                  descriptor_json(amd, Platform{"linux", "amd64", ""}), descriptor_json(inner)}),
      kIndex);
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({server.host()});

  const auto for_amd = client.manifest(server.host() + "/app:1");
  REQUIRE_MESSAGE(for_amd, for_amd.error().message);
  CHECK(for_amd->digest == amd.digest);
  CHECK(for_amd->index == index.digest);
  const auto for_arm = client.manifest(server.host() + "/app@" + index.digest.text(), {"linux", "arm64", ""});
  REQUIRE_MESSAGE(for_arm, for_arm.error().message);
  CHECK(for_arm->digest == arm.digest);
  const auto missing = client.manifest(server.host() + "/app:1", {"linux", "s390x", ""});
  REQUIRE(!missing);
  CHECK(missing.error().code == Code::platform_missing);
  CHECK(says(missing.error(), "linux/s390x; there is linux/amd64, linux/arm64/v8"));
  CHECK(server.count(attestation.digest.text()) == 0);
}

TEST_CASE("indexes are followed three deep and no further") {
  Shelf shelf;
  Descriptor next = shelf.add_image("app", "0", "layer");
  for (const std::string tag : {"1", "2", "3", "4"}) {
    next = shelf.add_document("app", tag, index_json({descriptor_json(next)}), kIndex);
  }
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({server.host()});
  CHECK(client.manifest(server.host() + "/app:3"));
  const auto deep = client.manifest(server.host() + "/app:4");
  REQUIRE(!deep);
  CHECK(deep.error().code == Code::manifest_invalid);
  CHECK(says(deep.error(), "more than 3 deep"));
}

TEST_CASE("an index that leads to ever more indexes is left at some time") {
  Shelf shelf;
  std::vector<std::string> entries;
  for (int i = 0; i < 40; ++i) {
    const std::string none =
        R"({"schemaVersion":2,"annotations":{"n":")" + std::to_string(i) + R"("},"manifests":[]})";
    entries.push_back(descriptor_json(shelf.add_document("app", "", none, kIndex)));
  }
  shelf.add_document("app", "wide", index_json(entries), kIndex);
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({server.host()});
  const auto wide = client.manifest(server.host() + "/app:wide");
  REQUIRE(!wide);
  CHECK(wide.error().code == Code::manifest_invalid);
  CHECK(server.count("/manifests/") == 16);
}

TEST_CASE("a manifest that is not what was asked for is refused") {
  Shelf shelf;
  const Descriptor image = shelf.add_image("app", "1", "layer");
  const std::string other = R"({"schemaVersion":2})";
  Descriptor larger = image;
  larger.size_bytes += 1;
  shelf.add_document("app", "larger", index_json({descriptor_json(larger)}), kIndex);
  const std::string by_digest = "@" + Digest::of("something else").text();
  const HeaderList type = {{"Content-Type", std::string(kManifest)}};
  ScriptedServer server([&](const SeenRequest& request) {
    const std::string& target = request.target;
    if (target.ends_with("said")) {
      return reply(200, other, {type[0], {"Docker-Content-Digest", Digest::of("x").text()}});
    }
    if (target.ends_with(by_digest.substr(1))) return reply(200, other, type);
    if (target.ends_with("html")) return reply(200, "<html></html>", {{"Content-Type", "text/html"}});
    if (target.ends_with("schema1")) {
      return reply(200, R"({"schemaVersion":1})",
                   {{"Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws"}});
    }
    if (target.ends_with("artifact")) {
      return reply(200, other, {{"Content-Type", "application/vnd.oci.artifact.manifest.v1+json"}});
    }
    if (target.ends_with("large")) return reply(200, std::string((4 << 20) + 1, ' '), type);
    if (target.ends_with("endless")) {
      Reply endless = reply(200, "", {type[0], {"Content-Length", "99999999999999"}});
      endless.endless = true;
      return endless;
    }
    if (target.ends_with("part")) return reply(206, other, type);
    return shelf.serve(request);
  });
  TestClient client({server.host()});
  const struct {
    std::string selector;
    Code code;
    std::string_view text;
  } rows[] = {
      {":said", Code::digest_mismatch, "what the registry says"},
      {by_digest, Code::digest_mismatch, "the one asked for"},
      {":larger", Code::size_mismatch, "the index says"},
      {":html", Code::manifest_invalid, ": the manifest is not JSON"},
      {":schema1", Code::media_type_unsupported, "schema 1"},
      {":artifact", Code::media_type_unsupported, "artifact"},
      {":large", Code::image_too_large, "4 MiB"},
      {":endless", Code::image_too_large, "4 MiB"},
      {":part", Code::manifest_invalid, "config is missing"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.selector);
    const auto fetched = client.manifest(server.host() + "/app" + row.selector);
    REQUIRE(!fetched);
    CHECK_MESSAGE(fetched.error().code == row.code, fetched.error().message);
    CHECK_MESSAGE(says(fetched.error(), row.text), fetched.error().message);
  }
  CHECK(client.manifest(server.host() + "/app:1"));
}

TEST_CASE("what a registry refuses has the error of its kind, with its own words") {
  ScriptedServer server([](const SeenRequest& request) {
    const std::string& target = request.target;
    if (target == "/v2/") return reply(200);
    if (target.contains("/denied/")) return refusal(403, "DENIED", "requested access is denied");
    if (target.contains("/broken/")) return refusal(500, "UNKNOWN", "unknown error");
    if (target.contains("/moved/")) return reply(300);
    return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
  });
  TestClient client({server.host()});
  const struct {
    std::string repository;
    Code code;
    std::string_view text;
    size_t attempts;
  } rows[] = {
      {"none", Code::not_found, "answers 404 for none:1 (NAME_UNKNOWN: repository name not known", 1},
      {"denied", Code::unauthorized, "answers 403 for denied:1 (DENIED: requested access", 1},
      {"broken", Code::registry_failed, "answers 500 for broken:1 (UNKNOWN: unknown error)", 5},
      {"moved", Code::registry_failed, "answers 300 for moved:1", 1},
  };
  for (const auto& row : rows) {
    CAPTURE(row.repository);
    const auto fetched = client.manifest(server.host() + "/" + row.repository + ":1");
    REQUIRE(!fetched);
    CHECK(fetched.error().code == row.code);
    CHECK_MESSAGE(says(fetched.error(), row.text), fetched.error().message);
    CHECK(server.count("/" + row.repository + "/") == row.attempts);
  }
  CHECK(server.count("/v2/none") + server.count("/v2/denied") == 2);
}

TEST_CASE("a registry that is plain HTTP is not asked so unless it is configured") {
  Shelf shelf;
  shelf.add_image("app", "1", "layer");
  ScriptedServer server([&](const SeenRequest& request) { return shelf.serve(request); });
  TestClient client({});
  const auto fetched = client.manifest(server.host() + "/app:1");
  REQUIRE(!fetched);
  CHECK(fetched.error().code == Code::tls_failed);
  CHECK_MESSAGE(says(fetched.error(), "plain HTTP"), fetched.error().message);
  CHECK(server.count("/") == 0);
}

}  // namespace
}  // namespace lambdo::registry
