#include "image/image_manifest.h"

#include <utility>
#include <variant>

namespace lambdo::image {

namespace media_type = registry::media_type;

namespace {

std::string_view as_oci(std::string_view type) {
  if (type == media_type::kDockerConfig) return media_type::kOciConfig;
  if (type == media_type::kDockerLayer) return media_type::kOciLayer;
  if (type == media_type::kDockerLayerGzip) return media_type::kOciLayerGzip;
  if (type == media_type::kDockerLayerZstd) return media_type::kOciLayerZstd;
  return type;
}

void write_part(JsonWriter& json, registry::Descriptor part) {
  part.media_type = as_oci(part.media_type);
  json.begin_object();
  write_descriptor_members(json, part);
  json.end_object();
}

}  // namespace

Result<registry::Manifest> parse_image_manifest(std::string_view json) {
  auto parsed = TRY(registry::parse_manifest(json, {}));
  auto* manifest = std::get_if<registry::Manifest>(&parsed);
  if (manifest == nullptr) return fail(Code::manifest_invalid, "an index is where a manifest should be");
  return std::move(*manifest);
}

void write_descriptor_members(JsonWriter& json, const registry::Descriptor& blob) {
  json.field("mediaType", blob.media_type).field("digest", blob.digest.text()).field("size", blob.size_bytes);
}

std::string write_oci_manifest(const registry::Manifest& manifest) {
  JsonWriter json;
  json.begin_object().field("schemaVersion", 2).field("mediaType", media_type::kOciManifest).key("config");
  write_part(json, manifest.config);
  json.key("layers").begin_array();
  for (const registry::Descriptor& layer : manifest.layers) write_part(json, layer);
  json.end_array().end_object();
  return json.take();
}

}  // namespace lambdo::image
