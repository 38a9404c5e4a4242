#include "image/image_config.h"

#include <utility>

#include "registry/json_object.h"

namespace lambdo::image {

using registry::JsonDocument;
using registry::JsonObject;

namespace {

constexpr size_t kMaxUserBytes = 256;
constexpr size_t kMaxPathBytes = 4095;
constexpr size_t kMaxDiffIds = 4096;

bool has_nul(std::string_view text) {
  return text.contains('\0');
}

Result<std::string> text(const JsonObject& from, std::string_view name) {
  std::string value = TRY(from.text(name)).value_or("");
  if (has_nul(value)) return from.wrong(name, "has a NUL in it");
  return value;
}

Result<std::vector<std::string>> texts(const JsonObject& from, std::string_view name) {
  auto values = TRY(from.texts(name, ImageConfig::kMaxStrings));
  for (const std::string& value : values) {
    if (has_nul(value)) return from.wrong(name, "has a string with a NUL in it");
    if (value.size() > ImageConfig::kMaxStringBytes) {
      return from.wrong(name, "has a string that is longer than Linux passes to programs");
    }
  }
  return values;
}

Result<> read_process(const JsonObject& config, ImageConfig& image) {
  image.env = TRY(texts(config, "Env"));
  for (const std::string& variable : image.env) {
    const size_t equals = variable.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return config.wrong("Env", "has '" + variable.substr(0, 64) + "', which is not NAME=value");
    }
  }
  image.working_dir = TRY(text(config, "WorkingDir"));
  if (!image.working_dir.empty() &&
      (image.working_dir[0] != '/' || image.working_dir.size() > kMaxPathBytes)) {
    return config.wrong("WorkingDir", "must be an absolute path");
  }
  image.user = TRY(text(config, "User"));
  if (image.user.size() > kMaxUserBytes || image.user.contains('\n')) {
    return config.wrong("User", "is not a user's name or number");
  }
  image.entrypoint = TRY(texts(config, "Entrypoint"));
  image.cmd = TRY(texts(config, "Cmd"));
  return {};
}

Result<> read_rootfs(const JsonObject& rootfs, size_t layers, ImageConfig& image) {
  const std::string type = TRY(rootfs.required_text("type"));
  if (type != "layers") return rootfs.wrong("type", "must be \"layers\"");
  for (const std::string& value : TRY(rootfs.texts("diff_ids", kMaxDiffIds))) {
    const auto digest = registry::Digest::parse(value);
    if (!digest) {
      return rootfs.wrong("diff_ids[" + std::to_string(image.diff_ids.size()) + "]",
                          "is not usable: " + digest.error().message);
    }
    image.diff_ids.push_back(*digest);
  }
  if (image.diff_ids.size() != layers) {
    return rootfs.wrong("diff_ids", "has " + std::to_string(image.diff_ids.size()) + " entries for " +
                                        std::to_string(layers) + " layers");
  }
  return {};
}

}  // namespace

Result<ImageConfig> ImageConfig::parse(std::string_view json, size_t layers) {
  if (json.size() > kMaxBytes) {
    return fail(Code::image_too_large, "the image's configuration has " + std::to_string(json.size()) +
                                           " bytes; at most " + std::to_string(kMaxBytes) + " are read");
  }
  const auto document = TRY(JsonDocument::parse(json, "the image's configuration", Code::manifest_invalid));
  const JsonObject& root = document.root();
  ImageConfig image;
  image.platform.os = TRY(root.required_text("os"));
  image.platform.architecture = TRY(root.required_text("architecture"));
  image.platform.variant = TRY(text(root, "variant"));
  const auto config = TRY(root.object("config"));
  if (config) TRY(read_process(*config, image));
  const JsonObject rootfs = TRY(root.required_object("rootfs"));
  TRY(read_rootfs(rootfs, layers, image));
  return image;
}

std::string_view ImageConfig::variable(std::string_view name) const {
  // The last one counts, as where a program's environment is built from them in order.
  for (size_t i = env.size(); i-- > 0;) {
    const std::string_view entry = env[i];
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

}  // namespace lambdo::image
