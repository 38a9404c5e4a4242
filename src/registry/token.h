#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/client/client.h"
#include "registry/credentials.h"

/// The token protocol that registries share (distribution: docs/spec/auth/token.md and oauth.md).
namespace lambdo::registry {

/// Where a registry's tokens come from.
struct TokenSource {
  http::Url realm;
  std::string service;  ///< may be empty

  bool operator==(const TokenSource&) const = default;
};

struct AccessToken {
  std::string value;
  int64_t lifetime_ms = 0;  ///< from when it was asked for
};

/// The request for a token: POST as OAuth 2 with an identity token, GET with Basic or anonymous otherwise.
http::ClientRequest token_request(const TokenSource& source, std::string_view scope,
                                  const Credential& credential);

/// The answer to it; registry_failed where it is none, without its text. `now_s` is the clock's time.
Result<AccessToken> parse_token_response(std::string_view json, int64_t now_s);

/// Text as a part of a query or a form: all but unreserved characters as %XX (RFC 3986, 2.3).
std::string percent_encode(std::string_view text);

/// "Basic ..." (RFC 7617).
std::string basic_authorization(const Credential& credential);

}  // namespace lambdo::registry
