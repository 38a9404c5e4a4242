#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "http/client/client.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "registry/endpoint.h"
#include "registry/exclusive.h"
#include "registry/retry.h"
#include "registry/settings.h"
#include "registry/token.h"

namespace lambdo::registry {

/// What everything that talks to registries shares; outlives it.
struct Context {
  reactor::Reactor& reactor;
  http::Client& http;
  reactor::BlockingPool& pool;
  const Settings settings;
};

/// How to be let in at one endpoint: asks it once what it wants, and keeps credentials and tokens for it. All
/// secrets stay in here and in the Authorization field that it gives.
class Authenticator {
 public:
  /// `context` and `endpoint` outlive it.
  Authenticator(const Context& context, const Endpoint& endpoint);

  /// The Authorization field for pulling from `repository`; empty where none is wanted. Tokens are asked for
  /// when there is none that lasts. Errors: as http::Client, as a token server's refusal, unauthorized where
  /// there are no credentials to give, permission_denied for a realm that no secret is sent to: without TLS,
  /// or at a private address, of a registry that is neither.
  reactor::Task<Result<std::string>> authorization(std::string repository, Attempt& attempt,
                                                   reactor::CancelToken token);

  /// Learns from a 401 that answered a request with the authorization `used`, so that the next one differs.
  Result<> learn(const http::Headers& headers, bool peer_is_private, const std::string& repository,
                 const std::string& used);

  /// All that was sent to be let in, for `redacted`: credentials and tokens, also those that were refused of
  /// late.
  [[nodiscard]] std::vector<std::string> secrets() const;

  /// For the user of a 401: why there was nothing better to give.
  [[nodiscard]] std::string hint() const;

 private:
  enum class Scheme { unknown, none, basic, bearer };
  struct KeptToken {
    std::string value;
    int64_t refresh_at_ns = 0;
  };
  /// realm, service, scope
  using TokenKey = std::tuple<std::string, std::string, std::string>;

  reactor::Task<Result<>> ping(Attempt& attempt, reactor::CancelToken token);
  reactor::Task<Result<std::string>> bearer(const std::string& repository, Attempt& attempt,
                                            reactor::CancelToken token);
  reactor::Task<Result<AccessToken>> fetch_token(const std::string& scope, Attempt& attempt,
                                                 reactor::CancelToken token);
  reactor::Task<Credential> credential();
  Result<> learn_scheme(const http::Headers& headers);
  Result<> set_source(std::string_view realm, std::string_view service);
  [[nodiscard]] std::string scope_of(const std::string& repository) const;
  void keep(const TokenKey& key, KeptToken kept);
  void forget(const std::string& used);
  void retire(std::string token);

  const Context* context_;
  const Endpoint* endpoint_;
  Exclusive exclusive_;
  Scheme scheme_ = Scheme::unknown;
  bool registry_is_private_ = false;
  std::optional<TokenSource> source_;
  std::map<TokenKey, KeptToken> tokens_;
  /// The last ones that are used no more: answers to requests with them may still come.
  std::deque<std::string> retired_;
  /// Scopes that differ from the usual, by repository.
  std::map<std::string, std::string> scopes_;
  std::optional<Credential> credential_;
  int64_t credential_until_ns_ = 0;
  std::string credential_problem_;
};

}  // namespace lambdo::registry
