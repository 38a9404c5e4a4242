#include "cli/registry_credentials.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/syscalls.h"
#include "cli/image_source.h"
#include "registry/endpoint.h"

namespace lambdo::cli {

static std::set<std::string> hosts_to_ask(const Config& config) {
  registry::Settings settings;
  settings.hosts = config.registries.hosts;
  std::set<std::string> hosts;
  for (const engine::Language& language : config.languages) {
    if (language.image.empty()) continue;
    const auto source = ImageSource::parse(language.image);
    if (!source || source->kind != ImageSource::Kind::registry) continue;
    // What is wrong with a URL is told when the image is fetched.
    const auto endpoints = registry::endpoints_of(source->reference.host, settings);
    if (!endpoints) continue;
    for (const registry::Endpoint& endpoint : *endpoints) hosts.insert(endpoint.host);
  }
  return hosts;
}

CredentialsByHost find_credentials(const Config& config, int64_t limit_ms) {
  CredentialsByHost found;
  if (config.images.pull == Config::Pull::never) return found;
  const std::string folder = config.registries.credentials.value_or(registry::default_docker_config_folder());
  if (folder.empty()) return found;
  const long long end_ns = sys::monotonic_ns() + limit_ms * 1'000'000;
  for (const std::string& host : hosts_to_ask(config)) {
    registry::ProgramLimits limits;
    const int64_t left_ms = std::max<int64_t>((end_ns - sys::monotonic_ns()) / 1'000'000, 0);
    limits.timeout_ms = std::min(left_ms, limits.timeout_ms);
    auto credential = registry::find_credential(folder, host, limits);
    if (!credential) {
      if (credential.error().code == Code::timeout && limits.timeout_ms == left_ms) {
        credential.error().message +=
            "; all helpers together have " + std::to_string(limit_ms) + " ms at a start";
      }
      log::warning("no credentials for a registry", {{"host", host}, {"error", credential.error().message}});
    }
    found[host] = credential ? *std::move(credential) : registry::Credential{};
  }
  return found;
}

}  // namespace lambdo::cli
