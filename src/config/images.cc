#include "config/images.h"

#include "config/values.h"
#include "http/url.h"
#include "registry/platform.h"
#include "registry/reference.h"

namespace lambdo::config {

static constexpr size_t kMaxMirrors = 16;
static constexpr size_t kMaxHosts = 256;
static constexpr uint64_t kMaxDownloads = 32;
static constexpr uint64_t kMaxRateKb = uint64_t{1} << 20;
static constexpr uint64_t kMaxLayers = 512;
static constexpr uint64_t kMiB = uint64_t{1} << 20;
static constexpr uint64_t kMaxImageMb = uint64_t{1} << 20;  // a terabyte

void read_images(YamlMap map, Config::Images& images) {
  read_path(map, "store", images.store);
  map.read_choice<Config::Pull>(
      "pull", images.pull,
      {{"missing", Config::Pull::missing}, {"always", Config::Pull::always}, {"never", Config::Pull::never}});
  map.warn_of_unknown_keys();
}

/// The value as a URL of http or https, nullopt with an error where it is none.
static std::optional<std::string> read_url(const YamlValue& value) {
  auto text = value.text();
  if (!text) return std::nullopt;
  const bool has_scheme = text->starts_with("https://") || text->starts_with("http://");
  if (has_scheme && http::Url::parse(*text)) return text;
  value.error(quoted(http::without_user_info(*text)) +
              " is not a URL; write one such as https://mirror.example or http://10.0.0.5:5000");
  return std::nullopt;
}

static void read_url_key(YamlMap& map, std::string_view key, std::string& target) {
  const auto value = map.find(key);
  if (auto text = value ? read_url(*value) : std::nullopt) target = std::move(*text);
}

static registry::HostSettings read_host(YamlMap map) {
  registry::HostSettings host;
  map.read_bool("plain_http", host.plain_http);
  read_url_key(map, "url", host.url);
  read_url_key(map, "token_url", host.token_url);
  if (const auto mirrors = map.find("mirrors")) {
    for (const YamlValue& mirror : mirrors->list(kMaxMirrors, "mirror")) {
      if (auto url = read_url(mirror)) host.mirrors.push_back(std::move(*url));
    }
  }
  map.warn_of_unknown_keys();
  return host;
}

/// A host as references have it, or nothing with an error.
static bool is_host(const std::string& name, const YamlValue& value) {
  const auto reference = registry::Reference::parse(name + "/x");
  if (reference && reference->host == name) return true;
  value.error(
      "is not a registry's host; write it as in references, with its port where it has one: docker.io, "
      "registry.example or localhost:5000");
  return false;
}

static void read_hosts(const YamlValue& value, Config::Registries& registries) {
  const auto entries = value.map().entries();
  if (entries.size() > kMaxHosts) {
    return value.error("has " + std::to_string(entries.size()) + " entries; write at most " +
                       std::to_string(kMaxHosts));
  }
  for (const auto& [name, host] : entries) {
    if (is_host(name, host)) registries.hosts[name] = read_host(host.map());
  }
}

static void read_mb(YamlMap& map, std::string_view key, uint64_t& bytes) {
  uint64_t mb = 0;
  if (map.read_number(key, mb, 1, kMaxImageMb)) bytes = mb * kMiB;
}

void read_registries(YamlMap map, Config::Registries& registries) {
  if (const auto value = map.find("platform")) {
    const auto text = value->text();
    if (const auto platform = registry::parse_platform(text.value_or("")); platform) {
      registries.platform = *platform;
    } else if (text) {
      value->error(quoted(*text) + " is not a platform; write one such as linux/amd64 or linux/arm64");
    }
  }
  map.read_number("parallel_downloads", registries.parallel_downloads, 1, kMaxDownloads);
  map.read_number("min_kb_per_s", registries.min_kb_per_s, 0, kMaxRateKb);
  map.read_number("max_layers", registries.caps.max_layers, 1, kMaxLayers);
  read_mb(map, "max_compressed_mb", registries.caps.max_compressed_bytes);
  read_mb(map, "max_unpacked_mb", registries.caps.max_unpacked_bytes);
  read_path(map, "ca_file", registries.ca_file);
  if (const auto value = map.find("credentials")) {
    if (auto text = value->text()) registries.credentials = std::move(*text);
  }
  if (const auto hosts = map.find("hosts")) read_hosts(*hosts, registries);
  map.warn_of_unknown_keys();
}

}  // namespace lambdo::config
