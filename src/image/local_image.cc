#include "image/local_image.h"

#include <string>
#include <utility>

#include "image/image_manifest.h"

namespace lambdo::image {

Result<LocalImage> load_image(Store& store, const Digest& manifest) {
  auto lease = TRY(store.lease(manifest));
  const std::string json = TRY(store.read_blob(manifest, kMaxManifestBytes));
  Manifest parsed = TRY(parse_image_manifest(json));
  const std::string config_json = TRY(store.read_blob(parsed.config.digest, ImageConfig::kMaxBytes));
  ImageConfig config = TRY(ImageConfig::parse(config_json, parsed.layers.size()));
  for (const Descriptor& layer : parsed.layers) {
    if (!store.has_blob(layer)) {
      return fail(Code::not_found, "layer " + layer.digest.text() + " is not in " + store.folder());
    }
  }
  return LocalImage{.digest = manifest,
                    .manifest = std::move(parsed),
                    .config = std::move(config),
                    .lease = std::move(lease)};
}

Result<> check_limits(const Manifest& manifest, const ImageLimits& limits) {
  if (manifest.layers.size() > limits.max_layers) {
    return fail(Code::image_too_large, "the image has " + std::to_string(manifest.layers.size()) +
                                           " layers; at most " + std::to_string(limits.max_layers) +
                                           " are allowed");
  }
  uint64_t left = limits.max_compressed_bytes;
  for (const Descriptor& layer : manifest.layers) {
    if (layer.size_bytes > left) {
      return fail(Code::image_too_large, "the image's layers have more than " +
                                             std::to_string(limits.max_compressed_bytes) + " bytes");
    }
    left -= layer.size_bytes;
  }
  return {};
}

}  // namespace lambdo::image
