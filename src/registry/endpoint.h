#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/url.h"
#include "registry/settings.h"

namespace lambdo::registry {

/// A server that speaks the distribution API: a registry, or a mirror of it.
struct Endpoint {
  std::string host;  ///< as credentials and messages name it: "docker.io", "mirror.example:5000"
  http::Url base;    ///< what its paths are added to; `target` is empty or "/prefix"
  std::optional<http::Url> token_url;
  bool is_mirror = false;

  /// Where a path of the API is: "/v2/" or "/v2/library/python/manifests/3.12".
  [[nodiscard]] http::Url url(std::string_view path) const;
  /// Whether all that is said with it may be read on the way.
  [[nodiscard]] bool is_plain() const { return base.scheme == "http"; }
};

/// The servers to ask for the images of `host`, in order: its mirrors, then itself. invalid_argument where a
/// setting is no URL.
Result<std::vector<Endpoint>> endpoints_of(std::string_view host, const Settings& settings);

}  // namespace lambdo::registry
