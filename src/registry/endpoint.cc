#include "registry/endpoint.h"

#include "registry/reference.h"

namespace lambdo::registry {

static Result<http::Url> parse_base(const std::string& text) {
  http::Url url = TRY(http::Url::parse(text));
  if (url.target.contains('?')) {
    return fail(Code::invalid_argument, "\"" + text + "\" is not a registry's URL: it has a query");
  }
  while (url.target.ends_with('/')) url.target.pop_back();
  // People name the API or its host; both are meant alike.
  if (url.target.ends_with("/v2")) url.target.resize(url.target.size() - 3);
  return url;
}

http::Url Endpoint::url(std::string_view path) const {
  http::Url url = base;
  url.target += path;
  return url;
}

Result<std::vector<Endpoint>> endpoints_of(std::string_view host, const Settings& settings) {
  static const HostSettings kUsual;
  const auto found = settings.hosts.find(host);
  const HostSettings& own = found == settings.hosts.end() ? kUsual : found->second;
  std::vector<Endpoint> endpoints;
  for (const std::string& mirror : own.mirrors) {
    http::Url base = TRY(parse_base(mirror));
    std::string name = base.authority();
    endpoints.push_back({.host = std::move(name), .base = std::move(base), .is_mirror = true});
  }
  std::string url = own.url;
  if (url.empty()) {
    // docker.io itself is a web site.
    url = std::string(own.plain_http ? "http://" : "https://") +
          std::string(host == Reference::kDefaultHost ? "registry-1.docker.io" : host);
  }
  Endpoint endpoint{.host = std::string(host), .base = TRY(parse_base(url))};
  if (!own.token_url.empty()) endpoint.token_url = TRY(http::Url::parse(own.token_url));
  endpoints.push_back(std::move(endpoint));
  return endpoints;
}

}  // namespace lambdo::registry
