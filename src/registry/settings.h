#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "registry/credentials.h"

namespace lambdo::registry {

/// What differs between registries.
struct HostSettings {
  /// Where its API is, without "/v2": "https://registry.example:5000/prefix". Empty: https://HOST, and
  /// https://registry-1.docker.io for docker.io.
  std::string url;
  /// Where its tokens come from, in place of what its challenge says: "https://auth.example/token".
  std::string token_url;
  /// URLs as `url`, asked in this order before the registry itself.
  std::vector<std::string> mirrors;
  /// Speak HTTP without TLS. Without it a `url` or a mirror of http:// is needed for that; nothing ever falls
  /// back to it.
  bool plain_http = false;
};

struct Settings {
  /// By the host as references have it: "docker.io", "localhost:5000".
  std::map<std::string, HostSettings, std::less<>> hosts;
  /// Docker's configuration folder, with config.json in it; empty: no credentials are looked for.
  std::string docker_config_folder = default_docker_config_folder();
  /// Credentials by the host as references have it, before any other place. A process that may not start
  /// programs asks credential helpers beforehand (`find_credential`) and puts the answers here.
  CredentialsByHost credentials;

  unsigned max_attempts = 5;     ///< of each request, and for each stretch of a blob without progress
  int64_t first_delay_ms = 500;  ///< between attempts; doubles each time, with jitter
  int64_t max_delay_ms = 30'000;
  /// A blob that comes slower than this over the whole window is given up as if it had broken off. The time
  /// that its reader takes does not count.
  uint64_t min_blob_bytes_per_s = 4096;
  int64_t rate_window_ms = 60'000;      ///< 0: as slow as it likes
  int64_t answer_timeout_ms = 60'000;   ///< for the whole of a manifest, a token or a refusal; 0: none
  int64_t max_retry_after_ms = 60'000;  ///< what a registry may ask to wait; fails with overloaded beyond
};

}  // namespace lambdo::registry
