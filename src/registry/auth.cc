#include "registry/auth.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/log.h"
#include "http/client/time_limit.h"
#include "registry/challenge.h"
#include "registry/redact.h"
#include "registry/registry_error.h"

namespace lambdo::registry {

using reactor::CancelToken;
using reactor::Task;

namespace {

constexpr size_t kMaxTokens = 256;
constexpr size_t kMaxRetired = 16;
constexpr size_t kMaxScopes = 256;
constexpr size_t kMaxTokenAnswerBytes = 256 << 10;
constexpr int64_t kCredentialLifetimeNs = 300'000'000'000;

int64_t clock_s() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

/// The challenges of all fields that can be read; the first one's error where none can.
Result<std::vector<Challenge>> challenges_of(const http::Headers& headers) {
  std::vector<Challenge> all;
  std::optional<Error> problem;
  for (size_t i = 0; i < headers.size(); ++i) {
    // The field's name as http::Headers compares it.
    const auto [name, value] = headers[i];
    if (http::Headers{{name, ""}}.count("www-authenticate") == 0) continue;
    auto challenges = parse_challenges(value);
    if (!challenges) {
      if (!problem) problem = std::move(challenges).error();
      continue;
    }
    std::ranges::move(*challenges, std::back_inserter(all));
  }
  if (all.empty() && problem) return std::unexpected(std::move(*problem));
  return all;
}

/// Where registries without TLS are usual.
bool is_local(std::string_view host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

const Challenge* find_scheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  const auto found = std::ranges::find(challenges, scheme, &Challenge::scheme);
  return found == challenges.end() ? nullptr : &*found;
}

}  // namespace

Authenticator::Authenticator(const Context& context, const Endpoint& endpoint)
    : context_(&context), endpoint_(&endpoint), exclusive_(context.reactor) {}

Task<Result<std::string>> Authenticator::authorization(std::string repository, Attempt& attempt,
                                                       CancelToken token) {
  // One at a time: many layers of one image need one token.
  const Exclusive::Turn turn = CO_TRY(co_await exclusive_.take(token));
  if (scheme_ == Scheme::unknown) CO_TRY(co_await ping(attempt, token));
  if (scheme_ == Scheme::bearer) co_return co_await bearer(repository, attempt, token);
  if (scheme_ == Scheme::none) co_return std::string();
  const Credential own = co_await credential();
  if (own.user.empty()) {
    co_return fail(Code::unauthorized, endpoint_->host + " wants a user and a password" + hint());
  }
  co_return basic_authorization(own);
}

/// OCI distribution 1.1, "Determining Support": 200 or 401, and the latter says how to be let in.
Task<Result<>> Authenticator::ping(Attempt& attempt, CancelToken token) {
  http::ClientRequest request{.url = endpoint_->url("/v2/"), .follow_redirects = false};
  http::TimeLimit limit(context_->reactor, context_->settings.answer_timeout_ms, token);
  auto response = co_await context_->http.send(std::move(request), limit.token());
  if (!response) {
    Error error = limit.explain(std::move(response).error(), "the answer for /v2/");
    attempt.may_pass = may_pass(error.code);
    if (error.code == Code::tls_failed && is_local(endpoint_->base.host)) {
      error.message += "; if this registry speaks plain HTTP, the configuration must say so";
    }
    co_return std::unexpected(std::move(error).with_context(endpoint_->host));
  }
  registry_is_private_ = response->peer_is_private();
  const int status = response->status();
  if (status == 401) co_return learn_scheme(response->headers());
  if (status_may_pass(status)) {
    attempt.may_pass = true;
    attempt.retry_after_ms = retry_after_of(response->headers());
    const std::string body = (co_await response->read_all(kMaxErrorBytes, limit.token())).value_or("");
    co_return std::unexpected(
        refusal_error({.host = endpoint_->host, .status = status, .body = body, .what = "/v2/"}));
  }
  // Some do not answer it at all; then the first 401 tells.
  scheme_ = Scheme::none;
  co_return Result<>();
}

Result<> Authenticator::learn_scheme(const http::Headers& headers) {
  const auto challenges = TRY(challenges_of(headers));
  const Challenge* bearer = find_scheme(challenges, "bearer");
  const bool has_realm = bearer != nullptr && bearer->parameter("realm");
  if (has_realm || (bearer != nullptr && endpoint_->token_url)) {
    TRY(set_source(bearer->parameter("realm").value_or(""), bearer->parameter("service").value_or("")));
    scheme_ = Scheme::bearer;
    return {};
  }
  if (find_scheme(challenges, "basic") != nullptr) {
    // A connection without TLS is one that was configured so: nothing falls back to it.
    scheme_ = Scheme::basic;
    return {};
  }
  return fail(Code::unauthorized,
              endpoint_->host + " wants a kind of authentication that is not supported" +
                  (challenges.empty() ? std::string(" (it names none)")
                                      : ": " + shown_text(redacted(challenges[0].scheme, secrets()), 64)));
}

Result<> Authenticator::set_source(std::string_view realm, std::string_view service) {
  TokenSource source{.service = std::string(service)};
  if (endpoint_->token_url) {
    source.realm = *endpoint_->token_url;
  } else {
    auto url = http::Url::parse(realm);
    if (!url) {
      return fail(Code::registry_failed, endpoint_->host + " names a realm for tokens that is no URL");
    }
    if (url->scheme != "https" && !endpoint_->is_plain()) {
      return fail(Code::permission_denied, endpoint_->host + " wants its tokens asked for at " +
                                               redacted(url->authority(), secrets()) +
                                               " without TLS, which is refused");
    }
    source.realm = std::move(*url);
  }
  source_ = std::move(source);
  return {};
}

std::string Authenticator::scope_of(const std::string& repository) const {
  const auto found = scopes_.find(repository);
  return found != scopes_.end() ? found->second : "repository:" + repository + ":pull";
}

Task<Result<std::string>> Authenticator::bearer(const std::string& repository, Attempt& attempt,
                                                CancelToken token) {
  const std::string scope = scope_of(repository);
  const TokenKey key(source_->realm.text(), source_->service, scope);
  const auto kept = tokens_.find(key);
  if (kept != tokens_.end() && context_->reactor.now_ns() < kept->second.refresh_at_ns) {
    co_return "Bearer " + kept->second.value;
  }
  const int64_t asked_ns = context_->reactor.now_ns();
  AccessToken fresh = CO_TRY(co_await fetch_token(scope, attempt, token));
  // Renewed before its end: a request must arrive with it, too.
  const int64_t margin_ms = std::min<int64_t>(fresh.lifetime_ms / 4, 10'000);
  keep(key, {.value = fresh.value, .refresh_at_ns = asked_ns + (fresh.lifetime_ms - margin_ms) * 1'000'000});
  co_return "Bearer " + fresh.value;
}

Task<Result<AccessToken>> Authenticator::fetch_token(const std::string& scope, Attempt& attempt,
                                                     CancelToken token) {
  const Credential own = co_await credential();
  http::ClientRequest request = token_request(*source_, scope, own);
  // A registry of the Internet must not make us ask servers of the networks we are in.
  const bool anywhere = registry_is_private_ || endpoint_->token_url;
  request.addresses = anywhere ? http::AddressScope::any : http::AddressScope::public_only;
  request.shown = [this](std::string_view text) { return redacted(text, secrets()); };
  const std::string server = redacted(source_->realm.authority(), secrets());
  http::TimeLimit limit(context_->reactor, context_->settings.answer_timeout_ms, token);
  const auto response =
      co_await context_->http.fetch(std::move(request), kMaxTokenAnswerBytes, limit.token());
  if (!response) {
    Error error = limit.explain(response.error(), "the whole answer");
    attempt.may_pass = may_pass(error.code);
    co_return std::unexpected(std::move(error).with_context("token from " + server));
  }
  if (response->status == 200) {
    auto fresh = parse_token_response(response->body, clock_s());
    if (!fresh) co_return std::unexpected(std::move(fresh).error().with_context(server));
    co_return fresh;
  }
  attempt.may_pass = status_may_pass(response->status);
  attempt.retry_after_ms = retry_after_of(response->headers);
  const std::vector<std::string> known = secrets();
  Error error = refusal_error({.host = server,
                               .status = response->status,
                               .body = response->body,
                               .what = "a token for " + endpoint_->host,
                               .secrets = known});
  // A token server that does not know its own path says nothing about the image.
  if (error.code == Code::not_found) error.code = Code::registry_failed;
  if (error.code == Code::unauthorized) error.message += hint();
  co_return std::unexpected(std::move(error));
}

Task<Credential> Authenticator::credential() {
  const auto given = context_->settings.credentials.find(endpoint_->host);
  if (given != context_->settings.credentials.end()) {
    credential_ = given->second;
    co_return *credential_;
  }
  if (credential_ && context_->reactor.now_ns() < credential_until_ns_) co_return *credential_;
  auto found =
      co_await context_->pool.run([folder = context_->settings.docker_config_folder, host = endpoint_->host] {
        return find_credential(folder, host);
      });
  credential_problem_.clear();
  if (!found) {
    // Most images need none, so this alone is no reason to fail.
    credential_problem_ = found.error().message;
    log::warning("credentials cannot be looked up; going on without",
                 {{"registry", endpoint_->host}, {"reason", credential_problem_}});
    found = Credential{};
  }
  credential_ = std::move(*found);
  credential_until_ns_ = context_->reactor.now_ns() + kCredentialLifetimeNs;
  co_return *credential_;
}

std::string Authenticator::hint() const {
  if (!credential_problem_.empty()) return "; credentials: " + credential_problem_;
  if (!credential_ || credential_->anonymous())
    return "; no credentials for " + endpoint_->host + " are known";
  return "; the credentials for " + endpoint_->host + " may be wrong or not allow this";
}

void Authenticator::keep(const TokenKey& key, KeptToken kept) {
  if (tokens_.size() >= kMaxTokens) {
    const int64_t now_ns = context_->reactor.now_ns();
    std::erase_if(tokens_, [now_ns](const auto& entry) { return entry.second.refresh_at_ns <= now_ns; });
    if (tokens_.size() >= kMaxTokens) tokens_.clear();
  }
  KeptToken& place = tokens_[key];
  retire(std::exchange(place, std::move(kept)).value);
}

void Authenticator::retire(std::string token) {
  if (token.empty()) return;
  if (retired_.size() == kMaxRetired) retired_.pop_front();
  retired_.push_back(std::move(token));
}

std::vector<std::string> Authenticator::secrets() const {
  std::vector<std::string> all = credential_ ? secrets_of(*credential_) : std::vector<std::string>();
  for (const auto& [key, kept] : tokens_) all.push_back(kept.value);
  all.insert(all.end(), retired_.begin(), retired_.end());
  return all;
}

void Authenticator::forget(const std::string& used) {
  // Only what was refused: another request may have brought a newer one meanwhile.
  constexpr std::string_view kBearer = "Bearer ";
  if (used.starts_with(kBearer)) retire(used.substr(kBearer.size()));
  std::erase_if(tokens_, [&used](const auto& entry) { return "Bearer " + entry.second.value == used; });
  if (used.starts_with("Basic ")) credential_until_ns_ = 0;
}

Result<> Authenticator::learn(const http::Headers& headers, bool peer_is_private,
                              const std::string& repository, const std::string& used) {
  if (!used.empty()) forget(used);
  registry_is_private_ = peer_is_private;
  TRY(learn_scheme(headers));
  const auto challenges = TRY(challenges_of(headers));
  const Challenge* bearer = find_scheme(challenges, "bearer");
  const auto scope = bearer != nullptr ? bearer->parameter("scope") : std::nullopt;
  constexpr size_t kMaxScopeBytes = 1024;
  if (scope && !scope->empty() && scope->size() <= kMaxScopeBytes) {
    if (scopes_.size() >= kMaxScopes) scopes_.clear();
    scopes_[repository] = *scope;
  }
  return {};
}

}  // namespace lambdo::registry
