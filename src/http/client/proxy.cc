#include "http/client/proxy.h"

#include <algorithm>
#include <cstdlib>

#include "base/special_networks.h"
#include "base/text.h"

namespace lambdo::http {

namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return value;
}

/// Percent-decodes; nullopt where it is malformed or the text then has a control character.
std::optional<std::string> decode_user_info(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char byte = text[i];
    if (byte == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const std::string digits(text.substr(i + 1, 2));
      char* end = nullptr;
      byte = static_cast<char>(std::strtoul(digits.c_str(), &end, 16));
      if (end != digits.c_str() + 2 || digits[0] == '+' || digits[0] == '-' || digits[0] == ' ')
        return std::nullopt;
      i += 2;
    }
    if (static_cast<unsigned char>(byte) < ' ' || byte == 0x7f) return std::nullopt;
    out += byte;
  }
  return out;
}

std::unexpected<Error> unusable(std::string_view reason) {
  return fail(Code::invalid_argument,
              "it is no proxy that can be used: " + std::string(reason) +
                  "; write http://host:port or http://user:password@host:port, and in a password %2F for /, "
                  "%3F for ?, %23 for # and %40 for @");
}

bool is_below(std::string_view host, std::string_view domain) {
  return host.size() > domain.size() && host.ends_with(domain) &&
         host[host.size() - domain.size() - 1] == '.';
}

}  // namespace

ProxySettings ProxySettings::from_environment() {
  return from(environment);
}

ProxySettings ProxySettings::from(
    const std::function<std::optional<std::string>(const char* name)>& variable) {
  const auto first_of = [&](const char* lower, const char* upper) {
    return variable(lower) || !variable(upper) ? lower : upper;
  };
  ProxySettings settings;
  settings.http_variable = variable("REQUEST_METHOD") ? "http_proxy" : first_of("http_proxy", "HTTP_PROXY");
  settings.https_variable = first_of("https_proxy", "HTTPS_PROXY");
  settings.http = variable(settings.http_variable.c_str()).value_or("");
  settings.https = variable(settings.https_variable.c_str()).value_or("");
  settings.exempt = variable(first_of("no_proxy", "NO_PROXY")).value_or("");
  return settings;
}

Result<Proxy> Proxy::parse(std::string_view text) {
  std::string url_text(text);
  if (!text.contains("://")) url_text.insert(0, "http://");
  const size_t authority = url_text.find("://") + 3;
  const size_t authority_end = std::min(url_text.find_first_of("/?#", authority), url_text.size());
  const size_t at = url_text.substr(0, authority_end).rfind('@');
  Proxy proxy;
  if (at != std::string::npos && at >= authority) {
    const auto user_info = decode_user_info(std::string_view(url_text).substr(authority, at - authority));
    if (!user_info) return unusable("the user name or password is not percent-encoded right");
    // RFC 7617: without a password the colon still stands.
    proxy.authorization = "Basic " + base64_encode(user_info->contains(':') ? *user_info : *user_info + ":");
    url_text.erase(authority, at + 1 - authority);
  }
  // An "@" that is left stands behind what ended the host too early.
  if (url_text.contains('@')) return unusable("a /, ? or # of the user name or password is not encoded");
  const auto url = Url::parse_or_reason(url_text);
  if (!url) return unusable(url.error());
  proxy.scheme = url->scheme;
  proxy.host = url->host;
  proxy.port = url->port;
  return proxy;
}

ProxyRules::ProxyRules(const ProxySettings& settings) {
  const auto parse = [](const std::string& text,
                        const std::string& variable) -> std::optional<Result<Proxy>> {
    if (text.empty()) return std::nullopt;
    auto proxy = Proxy::parse(text);
    if (!proxy) return std::unexpected(std::move(proxy).error().with_context(variable));
    return proxy;
  };
  http_ = parse(settings.http, settings.http_variable);
  https_ = parse(settings.https, settings.https_variable);
  std::string_view list = settings.exempt;
  while (!list.empty()) {
    const size_t end = std::min(list.find_first_of(", \t"), list.size());
    add_exemption(list.substr(0, end));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
}

void ProxyRules::add_exemption(std::string_view entry) {
  if (entry.empty()) return;
  if (entry == "*") {
    all_exempt_ = true;
    return;
  }
  Exemption exemption;
  std::string host = to_lower(entry);
  if (host.contains('/')) {
    const auto network = IpSubnet::parse(host);
    if (!network) return;
    exemption.network = *network;
    exempt_.push_back(std::move(exemption));
    return;
  }
  // A port follows the last colon, unless that is part of a bare IPv6 address.
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && (colon == host.find(':') || host.starts_with('[')) &&
      !host.ends_with(']')) {
    const auto port = parse_uint(std::string_view(host).substr(colon + 1));
    if (!port || *port == 0 || *port > 65535) return;
    exemption.port = static_cast<uint16_t>(*port);
    host.resize(colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (const auto address = IpAddress::parse(host)) {
    exemption.network.emplace(*address, address->bits());
  } else {
    if (host.starts_with("*.")) host.erase(0, 1);
    exemption.only_below = host.starts_with('.');
    if (exemption.only_below) host.erase(0, 1);
    if (host.empty()) return;
    exemption.host = std::move(host);
  }
  exempt_.push_back(std::move(exemption));
}

bool ProxyRules::is_exempt(const Url& url) const {
  if (all_exempt_ || url.host == "localhost" || is_below(url.host, "localhost")) return true;
  const auto address = IpAddress::parse(url.host);
  if (address && is_loopback(*address)) return true;
  std::string_view host = url.host;
  if (host.ends_with('.')) host.remove_suffix(1);
  return std::ranges::any_of(exempt_, [&](const Exemption& exemption) {
    if (exemption.port != 0 && exemption.port != url.port) return false;
    if (exemption.network) return address && exemption.network->contains(*address);
    return !address && ((!exemption.only_below && host == exemption.host) || is_below(host, exemption.host));
  });
}

Result<const Proxy*> ProxyRules::choose(const Url& url) const {
  const std::optional<Result<Proxy>>& proxy = url.scheme == "https" ? https_ : http_;
  if (!proxy || is_exempt(url)) return nullptr;
  if (*proxy) return &**proxy;
  Error error = proxy->error();
  error.message += "; or name " + url.host + " in NO_PROXY to go there without";
  return std::unexpected(std::move(error));
}

}  // namespace lambdo::http
