#include "registry/manifest.h"

#include <string>
#include <vector>

#include "registry/platform.h"
#include "test.h"

namespace lambdo::registry {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string descriptor(std::string_view type, std::string_view more = "") {
  return R"({"mediaType":")" + std::string(type) + R"(","size":7,"digest":")" + kDigest + "\"" +
         std::string(more) + "}";
}
std::string manifest_of(std::string_view own_type, std::string_view config_type, std::string_view layers) {
  std::string out = R"({"schemaVersion":2,)";
  if (!own_type.empty()) out += R"("mediaType":")" + std::string(own_type) + "\",";
  return out + R"("config":)" + descriptor(config_type) + R"(,"layers":[)" + std::string(layers) + "]}";
}
std::string oci_manifest(std::string_view layers) {
  return manifest_of(media_type::kOciManifest, media_type::kOciConfig, layers);
}
std::string oci_index(std::string_view entries) {
  return R"({"schemaVersion":2,"manifests":[)" + std::string(entries) + "]}";
}
std::string for_platform(std::string_view type, std::string_view os, std::string_view architecture,
                         std::string_view variant = "") {
  std::string platform =
      R"(,"platform":{"os":")" + std::string(os) + R"(","architecture":")" + std::string(architecture) + "\"";
  if (!variant.empty()) platform += R"(,"variant":")" + std::string(variant) + "\"";
  return descriptor(type, platform + "}");
}

TEST_CASE("manifests of OCI and Docker are read, with layers of every kind there is") {
  const std::string oci =
      manifest_of(media_type::kOciManifest, media_type::kOciConfig,
                  descriptor(media_type::kOciLayer) + "," + descriptor(media_type::kOciLayerGzip) + "," +
                      descriptor(media_type::kOciLayerZstd));
  const auto first = parse_manifest(oci, media_type::kOciManifest);
  REQUIRE_MESSAGE(first, first.error().message);
  const auto& manifest = std::get<Manifest>(*first);
  CHECK(manifest.media_type == media_type::kOciManifest);
  CHECK(manifest.config.media_type == media_type::kOciConfig);
  CHECK(manifest.config.size_bytes == 7);
  CHECK(manifest.config.digest.text() == kDigest);
  REQUIRE(manifest.layers.size() == 3);
  CHECK(manifest.layers[2].media_type == media_type::kOciLayerZstd);

  const std::string docker = manifest_of(media_type::kDockerManifest, media_type::kDockerConfig,
                                         descriptor(media_type::kDockerLayerGzip));
  const auto second = parse_manifest(docker, media_type::kDockerManifest);
  REQUIRE_MESSAGE(second, second.error().message);
  CHECK(std::get<Manifest>(*second).media_type == media_type::kDockerManifest);
}

TEST_CASE("the kind of a document comes from its declaration, then from itself, then from its fields") {
  const std::string bare = manifest_of("", media_type::kOciConfig, "");
  const struct {
    std::string json;
    std::string declared;
    std::string_view kind;
  } rows[] = {
      {bare, "application/vnd.oci.image.manifest.v1+json", media_type::kOciManifest},
      {bare, "Application/vnd.oci.image.Manifest.v1+JSON ; charset=utf-8", media_type::kOciManifest},
      {bare, "", media_type::kOciManifest},
      {bare, "application/json; charset=utf-8", media_type::kOciManifest},
      {bare, "text/plain", media_type::kOciManifest},
      {manifest_of(media_type::kDockerManifest, media_type::kDockerConfig, ""), "application/octet-stream",
       media_type::kDockerManifest},
      {oci_index(""), "", media_type::kOciIndex},
      {oci_index(""), std::string(media_type::kDockerIndex), media_type::kDockerIndex},
  };
  for (const auto& row : rows) {
    CAPTURE(row.declared);
    const auto parsed = parse_manifest(row.json, row.declared);
    REQUIRE_MESSAGE(parsed, parsed.error().message);
    const auto* manifest = std::get_if<Manifest>(&*parsed);
    CHECK((manifest ? manifest->media_type : std::get<Index>(*parsed).media_type) == row.kind);
  }
}

TEST_CASE("what is not a manifest is refused with the field that is wrong") {
  const std::string good_layer = descriptor(media_type::kOciLayer);
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  const struct {
    std::string json;
    Code code;
    std::string_view reason;
  } rows[] = {
      {"", Code::manifest_invalid, "is not JSON"},
      {"{", Code::manifest_invalid, "is not JSON"},
      {deep, Code::manifest_invalid, "is not JSON"},
      {"[]", Code::manifest_invalid, "must be a JSON object"},
      {"{\"a\":\"\xff\"}", Code::manifest_invalid, "is not JSON"},
      {R"({"schemaVersion":2})", Code::manifest_invalid, "config is missing"},
      {R"({"config":{}})", Code::manifest_invalid, "schemaVersion is missing"},
      {R"({"schemaVersion":"2"})", Code::manifest_invalid,
       "schemaVersion must be a whole number, not a string"},
      {R"({"schemaVersion":3})", Code::manifest_invalid, "must be 2, not 3"},
      {R"({"schemaVersion":1,"fsLayers":[]})", Code::media_type_unsupported, "schema 1"},
      {oci_manifest("7"), Code::manifest_invalid, "layers[0] must be an object"},
      {oci_manifest("{}"), Code::manifest_invalid, "layers[0].mediaType is missing"},
      {oci_manifest(good_layer + R"(,{"mediaType":"a b"})"), Code::manifest_invalid, "layers[1].mediaType"},
      {oci_manifest(R"({"mediaType":"a","size":-1})"), Code::manifest_invalid, "from 0 to"},
      {oci_manifest(R"({"mediaType":"a","size":1.5})"), Code::manifest_invalid, "must be a whole number"},
      {oci_manifest(R"({"mediaType":"a","size":18446744073709551615})"), Code::manifest_invalid, "from 0 to"},
      {oci_manifest(R"({"mediaType":"a","size":184467440737095516150})"), Code::manifest_invalid, "not JSON"},
      {oci_manifest(R"({"mediaType":"a","size":1})"), Code::manifest_invalid, "layers[0].digest is missing"},
      {oci_manifest(R"({"mediaType":"a","size":1,"digest":"sha256:12"})"), Code::manifest_invalid,
       "layers[0].digest is not usable"},
      {oci_manifest(R"({"mediaType":"a","size":1,"digest":"md5:12"})"), Code::manifest_invalid, "'md5'"},
      {R"({"schemaVersion":2,"config":[],"layers":[]})", Code::manifest_invalid, "config must be an object"},
      {R"({"schemaVersion":2,"config":)" + descriptor(media_type::kOciConfig) + "}", Code::manifest_invalid,
       "layers is missing"},
      {manifest_of(media_type::kDockerManifest, media_type::kOciConfig, ""), Code::manifest_invalid,
       "mediaType is 'application/vnd.docker.distribution.manifest.v2+json', but"},
      {R"({"schemaVersion":2,"manifests":[],"layers":[],"config":)" + descriptor(media_type::kOciConfig) +
           "}",
       Code::manifest_invalid, "must not stand beside"},
      {manifest_of("", "application/vnd.cncf.helm.config.v1+json", ""), Code::media_type_unsupported,
       "not an image"},
      {oci_manifest(descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")),
       Code::media_type_unsupported, "layer 1 is a foreign layer"},
      {oci_manifest(good_layer + "," +
                    descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
       Code::media_type_unsupported, "layer 2 is a foreign layer"},
      {oci_manifest(descriptor("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")),
       Code::media_type_unsupported, "unknown kind"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.json.substr(0, 200));
    const auto parsed = parse_manifest(row.json, media_type::kOciManifest);
    REQUIRE(!parsed);
    CHECK(parsed.error().code == row.code);
    CHECK_MESSAGE(parsed.error().message.find(row.reason) != std::string::npos, parsed.error().message);
  }
}

TEST_CASE("documents of other kinds are refused by their declaration") {
  for (const std::string_view type :
       {"application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws; charset=utf-8", "text/html",
        "application/vnd.oci.artifact.manifest.v1+json"}) {
    CAPTURE(type);
    const auto parsed = parse_manifest(R"({"schemaVersion":2})", type);
    REQUIRE(!parsed);
    CHECK(parsed.error().code == Code::media_type_unsupported);
  }
}

std::string repeated(const std::string& text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += (i > 0 ? "," : "") + text;
  return out;
}

TEST_CASE("layers, entries and bytes have a bound") {
  const std::string layer = descriptor(media_type::kOciLayer);
  CHECK(parse_manifest(oci_manifest(repeated(layer, 512)), media_type::kOciManifest));
  const std::string entry = descriptor(media_type::kOciManifest);
  CHECK(parse_manifest(oci_index(repeated(entry, 1024)), media_type::kOciIndex));
  for (const auto& parsed : {parse_manifest(oci_manifest(repeated(layer, 513)), media_type::kOciManifest),
                             parse_manifest(oci_index(repeated(entry, 1025)), media_type::kOciIndex),
                             parse_manifest(std::string((4 << 20) + 1, ' '), media_type::kOciIndex)}) {
    REQUIRE(!parsed);
    CHECK(parsed.error().code == Code::image_too_large);
  }
}

Index index_of(const std::string& entries) {
  return std::get<Index>(parse_manifest(oci_index(entries), media_type::kOciIndex).value());
}

TEST_CASE("an index gives the entries for a platform, the surest first") {
  constexpr auto kManifest = media_type::kOciManifest;
  const Index index = index_of(
      for_platform(kManifest, "unknown", "unknown") + "," +
      for_platform("application/vnd.example", "linux", "amd64") + "," + descriptor(kManifest) + "," +
      descriptor(media_type::kOciIndex) + "," + for_platform(media_type::kOciIndex, "linux", "amd64") + "," +
      for_platform(kManifest, "windows", "amd64") + "," + for_platform(kManifest, "linux", "arm64", "v8") +
      "," + for_platform(kManifest, "linux", "amd64", "v3") + "," +
      for_platform(media_type::kDockerManifest, "linux", "amd64"));
  const auto found = candidates_for(index, {});
  REQUIRE(found.size() == 4);
  CHECK(found[0].media_type == media_type::kDockerManifest);
  CHECK(found[1].media_type == media_type::kOciIndex);
  CHECK(found[1].platform);
  CHECK(found[2].media_type == media_type::kOciIndex);
  CHECK(!found[2].platform);
  CHECK(found[3].media_type == kManifest);
  CHECK(!found[3].platform);

  const auto arm = candidates_for(index, {.os = "linux", .architecture = "arm64"});
  REQUIRE(arm.size() == 3);
  CHECK(arm[0].platform->variant == "v8");
}

TEST_CASE("a missing platform lists those that there are") {
  constexpr auto kManifest = media_type::kOciManifest;
  const Index index = index_of(
      for_platform(kManifest, "linux", "arm", "v7") + "," + for_platform(kManifest, "linux", "s390x") + "," +
      for_platform(kManifest, "unknown", "unknown") + "," + for_platform(kManifest, "linux", "s390x"));
  CHECK(candidates_for(index, {}).empty());
  const Result<> missing = platform_missing({}, platforms_of(index));
  CHECK(missing.error().code == Code::platform_missing);
  CHECK(missing.error().message ==
        "the image has no variant for linux/amd64; there is linux/arm/v7, linux/s390x");
}

TEST_CASE("variants are told apart, and a missing one is the usual one") {
  const struct {
    const char* a;
    const char* b;
    bool same;
  } rows[] = {
      {"linux/amd64", "linux/amd64", true},     {"linux/amd64", "linux/amd64/v1", true},
      {"linux/amd64", "linux/amd64/v2", false}, {"linux/arm64", "linux/arm64/v8", true},
      {"linux/arm", "linux/arm/v7", true},      {"linux/arm", "linux/arm/v6", false},
      {"linux/arm64", "linux/arm", false},      {"linux/amd64", "windows/amd64", false},
      {"linux/386", "linux/386/x", false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.a);
    CAPTURE(row.b);
    CHECK(same_machine(parse_platform(row.a).value(), parse_platform(row.b).value()) == row.same);
    CHECK(parse_platform(row.b)->text() == row.b);
  }
}

TEST_CASE("what is no platform is refused") {
  for (const std::string_view text : {"", "linux", "linux/", "/amd64", "a/b/c/d", "linux/AMD64",
                                      "linux/amd64/", "a//b", "linux amd64", "é/a"}) {
    CAPTURE(text);
    const auto platform = parse_platform(text);
    REQUIRE(!platform);
    CHECK(platform.error().code == Code::invalid_argument);
  }
}

TEST_CASE("this machine is a Linux of some kind") {
  CHECK(machine_platform().os == "linux");
  CHECK(!machine_platform().architecture.empty());
}

}  // namespace
}  // namespace lambdo::registry
