#include "server/registry_credentials.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/syscalls.h"
#include "image/image_source.h"
#include "registry/endpoint.h"

namespace lambdo::server {

static std::set<std::string> hosts_to_ask(const config::Config& config) {
  registry::Settings settings;
  settings.hosts = config.registries.hosts;
  std::set<std::string> hosts;
  for (const engine::Language& language : config.languages) {
    if (language.image.empty()) continue;
    const auto source = image::ImageSource::parse(language.image);
    if (!source || source->kind != image::ImageSource::Kind::registry) continue;
    // What is wrong with a URL is told when the image is fetched.
    const auto endpoints = registry::endpoints_of(source->reference.host, settings);
    if (!endpoints) continue;
    for (const registry::Endpoint& endpoint : *endpoints) hosts.insert(endpoint.host);
  }
  return hosts;
}

namespace {

/// Asks for one host after another, in a bounded time for all together.
class Search {
 public:
  Search(std::string folder, int interrupt_fd, int64_t limit_ms)
      : folder_(std::move(folder)),
        interrupt_fd_(interrupt_fd),
        limit_ms_(limit_ms),
        end_ns_(sys::monotonic_ns() + limit_ms * 1'000'000) {}

  Result<registry::Credential> find(const std::string& host) {
    const std::string helper = TRY(registry::find_credential_helper(folder_, host));
    if (late_.contains(helper)) {
      return fail(Code::timeout,
                  "docker-credential-" + helper + " took too long before and is asked no more");
    }
    const int64_t left_ms = std::max<int64_t>((end_ns_ - sys::monotonic_ns()) / 1'000'000, 0);
    registry::ProgramLimits limits{.timeout_ms = std::min(left_ms, limit_ms_ / 2)};
    limits.interrupt_fd = interrupt_fd_;
    auto credential = registry::find_credential(folder_, host, limits);
    if (credential || credential.error().code != Code::timeout) return credential;
    late_.insert(helper);
    credential.error().message +=
        "; all helpers together have " + std::to_string(limit_ms_) + " ms at a start, and one has half";
    return credential;
  }

 private:
  const std::string folder_;
  const int interrupt_fd_;
  const int64_t limit_ms_;
  const long long end_ns_;
  std::set<std::string> late_;  ///< helpers
};

}  // namespace

Result<registry::CredentialsByHost> find_credentials(const config::Config& config, int interrupt_fd,
                                                     int64_t limit_ms) {
  registry::CredentialsByHost found;
  if (config.images.pull == config::Config::Pull::never) return found;
  const std::string folder = config.registries.credentials.value_or(registry::default_docker_config_folder());
  if (folder.empty()) return found;
  Search search(folder, interrupt_fd, limit_ms);
  for (const std::string& host : hosts_to_ask(config)) {
    auto credential = search.find(host);
    if (!credential && credential.error().code == Code::cancelled)
      return std::unexpected(std::move(credential).error());
    if (!credential) {
      log::warning("no credentials for a registry", {{"host", host}, {"error", credential.error().message}});
    }
    found[host] = credential ? *std::move(credential) : registry::Credential{};
  }
  return found;
}

}  // namespace lambdo::server
