#include "registry/token.h"

#include <algorithm>

#include "base/text.h"
#include "registry/dates.h"
#include "registry/json_object.h"

namespace lambdo::registry {

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  constexpr std::string_view kUnreserved = "-._~";
  std::string out;
  for (const char c : text) {
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alphanumeric || (c != '\0' && kUnreserved.contains(c))) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string basic_authorization(const Credential& credential) {
  return "Basic " + base64_encode(credential.user + ":" + credential.password);
}

http::ClientRequest token_request(const TokenSource& source, std::string_view scope,
                                  const Credential& credential) {
  http::ClientRequest request{.url = source.realm};
  std::string fields = "scope=" + percent_encode(scope);
  if (!source.service.empty()) fields += "&service=" + percent_encode(source.service);
  if (!credential.identity_token.empty()) {
    request.method = http::Method::post;
    request.headers.add("Content-Type", "application/x-www-form-urlencoded");
    request.body = "grant_type=refresh_token&client_id=lambdo&" + fields +
                   "&refresh_token=" + percent_encode(credential.identity_token);
    return request;
  }
  if (!credential.anonymous()) {
    fields += "&account=" + percent_encode(credential.user);
    request.headers.add("Authorization", basic_authorization(credential));
  }
  request.url.target += (request.url.target.contains('?') ? "&" : "?") + fields;
  return request;
}

/// RFC 6750, 2.1: b64token. Whatever else would not be a header's value.
static bool is_bearer_token(std::string_view text) {
  constexpr size_t kMaxBytes = 32 << 10;
  const auto printable = [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != ','; };
  return !text.empty() && text.size() <= kMaxBytes && std::ranges::all_of(text, printable);
}

Result<AccessToken> parse_token_response(std::string_view json, int64_t now_s) {
  // For answers that do not say: what the protocol promises.
  constexpr uint64_t kDefaultLifetimeS = 60;
  constexpr uint64_t kMaxLifetimeS = 24 * 3600;
  const JsonDocument document =
      TRY(JsonDocument::parse(json, "the token server's answer", Code::registry_failed));
  const JsonObject& root = document.root();
  AccessToken token;
  token.value = TRY(root.text("token")).value_or("");
  if (token.value.empty()) token.value = TRY(root.text("access_token")).value_or("");
  if (!is_bearer_token(token.value)) {
    return fail(Code::registry_failed, "the token server's answer has no usable token");
  }
  const auto lifetime_s = static_cast<int64_t>(
      std::min(TRY(root.number("expires_in")).value_or(kDefaultLifetimeS), kMaxLifetimeS));
  // A server may hand out the same token for a while. Its clock is not ours, so the date only ever shortens.
  const auto issued_s = parse_internet_date(TRY(root.text("issued_at")).value_or(""));
  const int64_t age_s = issued_s ? std::clamp<int64_t>(now_s - *issued_s, 0, lifetime_s) : 0;
  token.lifetime_ms = (lifetime_s - age_s) * 1000;
  return token;
}

}  // namespace lambdo::registry
