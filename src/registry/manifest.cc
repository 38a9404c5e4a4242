#include "registry/manifest.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "registry/json_object.h"
#include "registry/redact.h"

namespace lambdo::registry {

namespace {

using Secrets = std::span<const std::string>;

constexpr size_t kMaxManifestBytes = 4 << 20;
constexpr size_t kMaxLayers = 512;
constexpr size_t kMaxEntries = 1024;
constexpr size_t kMaxMediaTypeLength = 256;

constexpr std::array kLayerTypes = {media_type::kOciLayer,        media_type::kOciLayerGzip,
                                    media_type::kOciLayerZstd,    media_type::kDockerLayer,
                                    media_type::kDockerLayerGzip, media_type::kDockerLayerZstd};

bool is_manifest(std::string_view type) {
  return type == media_type::kOciManifest || type == media_type::kDockerManifest;
}
bool is_index(std::string_view type) {
  return type == media_type::kOciIndex || type == media_type::kDockerIndex;
}

std::unexpected<Error> unsupported(std::string message) {
  return fail(Code::media_type_unsupported, std::move(message));
}

/// The type alone, in lower case: RFC 9110, 8.3.1 allows parameters after it.
std::string bare_type(std::string_view declared) {
  return to_lower(trimmed(declared.substr(0, declared.find(';'))));
}

/// What servers say that know nothing of images.
bool says_nothing(std::string_view type) {
  return type.empty() || type == "application/json" || type == "text/plain" ||
         type == "application/octet-stream";
}

/// The media type of a descriptor or document: printable, without quotes, because errors show it.
Result<std::string> media_type_of(const JsonObject& object) {
  std::string type = TRY(object.required_text("mediaType"));
  const auto is_printable = [](char c) { return c > ' ' && c < 0x7f && c != '\'' && c != '"'; };
  if (type.empty() || type.size() > kMaxMediaTypeLength || !std::ranges::all_of(type, is_printable)) {
    return object.wrong("mediaType", "is not a media type");
  }
  return type;
}

Result<Descriptor> read_descriptor(const JsonObject& object, Secrets secrets) {
  Descriptor descriptor;
  descriptor.media_type = TRY(media_type_of(object));
  descriptor.size_bytes = TRY(object.required_number("size"));
  const std::string text = TRY(object.required_text("digest"));
  const auto digest = Digest::parse(text);
  if (!digest) {
    // Its error repeats a part of the text. What is taken out makes no digest of it.
    const auto shown = Digest::parse(redacted(text, secrets));
    return object.wrong("digest", "is not usable" + (shown ? "" : ": " + shown.error().message));
  }
  descriptor.digest = *digest;
  return descriptor;
}

Result<> check_config(const Descriptor& config, Secrets secrets) {
  if (config.media_type == media_type::kOciConfig || config.media_type == media_type::kDockerConfig)
    return {};
  return unsupported("this is not an image but something else that registries keep: its configuration is '" +
                     redacted(config.media_type, secrets) + "'");
}

Result<> check_layer(const Descriptor& layer, size_t number, Secrets secrets) {
  if (std::ranges::find(kLayerTypes, layer.media_type) != kLayerTypes.end()) return {};
  const std::string name = "layer " + std::to_string(number + 1);
  const std::string shown = redacted(layer.media_type, secrets);
  if (layer.media_type.contains("nondistributable") || layer.media_type.contains(".foreign.")) {
    return unsupported(name + " is a foreign layer ('" + shown +
                       "'), which the registry does not keep; such images are not supported");
  }
  return unsupported(name + " is of the unknown kind '" + shown + "'");
}

Result<Manifest> read_manifest(const JsonObject& root, std::string type, Secrets secrets) {
  Manifest manifest{.media_type = std::move(type)};
  const JsonObject config = TRY(root.required_object("config"));
  manifest.config = TRY(read_descriptor(config, secrets));
  TRY(check_config(manifest.config, secrets));
  for (const JsonObject& entry : TRY(root.required_objects("layers", kMaxLayers))) {
    Descriptor layer = TRY(read_descriptor(entry, secrets));
    TRY(check_layer(layer, manifest.layers.size(), secrets));
    manifest.layers.push_back(std::move(layer));
  }
  return manifest;
}

Result<std::optional<Platform>> read_platform(const JsonObject& entry) {
  const auto object = TRY(entry.object("platform"));
  if (!object) return std::optional<Platform>();
  Platform platform;
  platform.os = TRY(object->required_text("os"));
  platform.architecture = TRY(object->required_text("architecture"));
  platform.variant = TRY(object->text("variant")).value_or("");
  const auto is_odd = [](char c) { return c <= ' ' || c >= 0x7f; };
  const std::string text = platform.text();
  if (text.size() > 128 || std::ranges::any_of(text, is_odd)) {
    return entry.wrong("platform", "is not a platform's name");
  }
  return std::optional(std::move(platform));
}

Result<Index> read_index(const JsonObject& root, std::string type, Secrets secrets) {
  Index index{.media_type = std::move(type)};
  for (const JsonObject& entry : TRY(root.required_objects("manifests", kMaxEntries))) {
    Descriptor descriptor = TRY(read_descriptor(entry, secrets));
    descriptor.platform = TRY(read_platform(entry));
    index.entries.push_back(std::move(descriptor));
  }
  return index;
}

Result<> check_schema(const JsonObject& root, std::string_view declared) {
  if (declared.starts_with("application/vnd.docker.distribution.manifest.v1+")) {
    return unsupported(
        "the manifest is of schema 1, which is obsolete; push the image again with a current tool");
  }
  const uint64_t version = TRY(root.required_number("schemaVersion"));
  if (version == 1) {
    return unsupported(
        "the manifest is of schema 1, which is obsolete; push the image again with a current tool");
  }
  if (version != 2) return root.wrong("schemaVersion", "must be 2, not " + std::to_string(version));
  return {};
}

/// What kind of document it is: by what came with it, by what it says, and only where neither does, by its
/// fields.
Result<std::string> kind_of(const JsonObject& root, const std::string& declared, Secrets secrets) {
  std::string own;
  if (root.has("mediaType")) own = TRY(media_type_of(root));
  if (says_nothing(declared)) {
    if (!own.empty()) return own;
    return std::string(root.has("manifests") ? media_type::kOciIndex : media_type::kOciManifest);
  }
  if (!own.empty() && own != declared) {
    return root.wrong("mediaType", "is '" + redacted(own, secrets) + "', but the document came as '" +
                                       redacted(declared, secrets) + "'");
  }
  return declared;
}

}  // namespace

Result<std::variant<Manifest, Index>> parse_manifest(std::string_view json, std::string_view declared,
                                                     std::span<const std::string> secrets) {
  if (json.size() > kMaxManifestBytes) {
    return fail(Code::image_too_large,
                "a manifest of " + std::to_string(json.size()) + " bytes; at most 4 MiB are read");
  }
  const JsonDocument document = TRY(JsonDocument::parse(json, "the manifest", Code::manifest_invalid));
  const JsonObject& root = document.root();
  const std::string type = bare_type(declared.substr(0, kMaxMediaTypeLength));
  TRY(check_schema(root, type));
  std::string kind = TRY(kind_of(root, type, secrets));
  if (!is_manifest(kind) && !is_index(kind)) {
    return unsupported("'" + redacted(kind, secrets) + "' is neither an image's manifest nor an index");
  }
  // A document that can be read as either means different things to different clients (OCI image 1.0.2,
  // CVE-2021-41190).
  if (root.has("manifests") && (root.has("layers") || root.has("config"))) {
    return root.wrong("manifests", "must not stand beside layers or config");
  }
  if (is_index(kind)) return TRY(read_index(root, std::move(kind), secrets));
  return TRY(read_manifest(root, std::move(kind), secrets));
}

}  // namespace lambdo::registry
