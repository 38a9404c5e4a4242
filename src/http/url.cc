#include "http/url.h"

#include "base/text.h"

namespace lambdo::http {

static uint16_t default_port(std::string_view scheme) {
  return scheme == "https" ? 443 : 80;
}

static std::unexpected<std::string_view> unusable(std::string_view reason) {
  return std::unexpected(reason);
}

std::string without_user_info(std::string_view text) {
  const size_t at = text.rfind('@');
  if (at == std::string_view::npos) return std::string(text);
  const size_t colon = text.find(':');
  const size_t begin = text.substr(std::min(colon, at)).starts_with("://") && colon + 2 < at ? colon + 3 : 0;
  return std::string(text.substr(0, begin)) + "***" + std::string(text.substr(at));
}

Result<Url> Url::parse(std::string_view text) {
  auto url = parse_or_reason(text);
  if (url) return *std::move(url);
  return fail(Code::invalid_argument, "\"" + without_user_info(text) + "\" is not a URL that can be used: " +
                                          std::string(url.error()) + "; write http://host:port/path");
}

std::expected<Url, std::string_view> Url::parse_or_reason(std::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c == 0x7f) return unusable("it has white space, control or non-ASCII characters");
  }
  const size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return unusable("the scheme is missing");
  Url url;
  url.scheme = to_lower(text.substr(0, scheme_end));
  if (url.scheme != "http" && url.scheme != "https") return unusable("the scheme must be http or https");
  std::string_view rest = text.substr(scheme_end + 3);
  const size_t authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  const std::string_view authority = rest.substr(0, authority_end);
  rest.remove_prefix(authority_end);
  if (rest.contains('#')) return unusable("it has a fragment (#)");
  if (authority.contains('@')) return unusable("it has a user name");
  url.target = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);

  std::string_view port_part;
  if (authority.starts_with('[')) {
    const size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos) return unusable("the bracket of the IPv6 address is not closed");
    url.host = authority.substr(1, bracket - 1);
    port_part = authority.substr(bracket + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    url.host = to_lower(authority.substr(0, colon));
    port_part = authority.substr(colon);
  }
  if (url.host.empty()) return unusable("the host is missing");
  url.port = default_port(url.scheme);
  if (!port_part.empty()) {
    const auto port = parse_uint(port_part.substr(1));
    if (!port_part.starts_with(':') || !port || *port == 0 || *port > 65535) {
      return unusable("the port must be a number from 1 to 65535");
    }
    url.port = static_cast<uint16_t>(*port);
  }
  return url;
}

std::string Url::authority() const {
  std::string out = host.contains(':') ? "[" + host + "]" : host;
  if (port != default_port(scheme)) out += ":" + std::to_string(port);
  return out;
}

std::string Url::text() const {
  return scheme + "://" + authority() + target;
}

bool Url::same_origin(const Url& other) const {
  return scheme == other.scheme && host == other.host && port == other.port;
}

/// Takes "." and ".." out of an absolute path (RFC 3986, 5.2.4).
static std::string without_dot_segments(std::string_view path) {
  std::string out;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, end);
    path.remove_prefix(end);
    if (segment == "/." || segment == "/..") {
      if (segment == "/..") out.resize(out.empty() ? 0 : out.rfind('/'));
      if (path.empty()) out += '/';
    } else {
      out += segment;
    }
  }
  return out;
}

/// Whether a scheme stands in front (RFC 3986, 3.1): a colon before anything that ends one.
static bool has_scheme(std::string_view reference) {
  const size_t end = reference.find_first_of(":/?#");
  return end != std::string_view::npos && end > 0 && reference[end] == ':';
}

Result<Url> Url::resolve(std::string_view reference) const {
  reference = reference.substr(0, reference.find('#'));
  if (has_scheme(reference)) return parse(reference);
  if (reference.starts_with("//")) return parse(scheme + ":" + std::string(reference));
  const std::string origin = scheme + "://" + authority();
  if (reference.empty()) return *this;
  const std::string_view path = std::string_view(target).substr(0, target.find('?'));
  if (reference.starts_with('?')) return parse(origin + std::string(path) + std::string(reference));
  const size_t query = std::min(reference.find('?'), reference.size());
  std::string merged(reference.substr(0, query));
  if (!merged.starts_with('/')) merged.insert(0, path.substr(0, path.rfind('/') + 1));
  return parse(origin + without_dot_segments(merged) + std::string(reference.substr(query)));
}

}  // namespace lambdo::http
