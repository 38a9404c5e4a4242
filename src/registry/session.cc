#include "registry/session.h"

#include <string>
#include <utility>
#include <vector>

#include "http/client/time_limit.h"
#include "registry/redact.h"
#include "registry/registry_error.h"

namespace lambdo::registry {

using reactor::CancelToken;
using reactor::Task;

Task<Result<http::IncomingResponse>> Session::send(const Ask& ask, const std::string& authorization,
                                                   Attempt& attempt, CancelToken token) {
  http::ClientRequest request{.url = endpoint_.url(ask.path), .headers = ask.headers};
  if (!authorization.empty()) request.headers.add("Authorization", authorization);
  // Digests are of what is stored: nothing may compress it on the way.
  request.headers.add("Accept-Encoding", "identity");
  request.shown = [this](std::string_view text) { return registry::redacted(text, auth_.secrets()); };
  auto response = co_await context_->http.send(std::move(request), token);
  if (!response) {
    attempt.may_pass = may_pass(response.error().code);
    co_return std::unexpected(std::move(response).error().with_context(ask.what + " from " + endpoint_.host));
  }
  co_return response;
}

Task<Error> Session::refusal(http::IncomingResponse& response, const Ask& ask, Attempt& attempt,
                             CancelToken token) {
  const int status = response.status();
  const bool is_elsewhere = !response.url().same_origin(endpoint_.base);
  // Where a registry sends us for a blob, links expire; it gives a new one.
  attempt.may_pass = status_may_pass(status) || (is_elsewhere && status == 403);
  attempt.retry_after_ms = retry_after_of(response.headers());
  http::TimeLimit limit(context_->reactor, context_->settings.answer_timeout_ms, token);
  const std::string body = (co_await response.read_all(kMaxErrorBytes, limit.token())).value_or("");
  const std::vector<std::string> secrets = auth_.secrets();
  const std::string elsewhere = registry::redacted(response.url().authority(), secrets);
  Error error = refusal_error({.host = is_elsewhere ? elsewhere : endpoint_.host,
                               .status = status,
                               .body = body,
                               .what = ask.what,
                               .secrets = secrets});
  if (error.code == Code::unauthorized && !is_elsewhere) error.message += auth_.hint();
  co_return error;
}

Error Session::redacted(Error error) const {
  // Words of ours are in it, too: a password that is one of them would show by being missing there.
  constexpr size_t kWordBytes = 8;
  std::vector<std::string> secrets = auth_.secrets();
  std::erase_if(secrets, [](const std::string& secret) { return secret.size() < kWordBytes; });
  error.message = registry::redacted(error.message, secrets);
  return error;
}

Task<Result<http::IncomingResponse>> Session::get(Ask ask, Attempt& attempt, CancelToken token) {
  attempt = {};
  std::string authorization = CO_TRY(co_await auth_.authorization(ask.repository, attempt, token));
  auto response = co_await send(ask, authorization, attempt, token);
  if (!response) co_return response;
  // Only the registry itself may say how it wants to be asked: another server that it sent us to would learn
  // our credentials that way.
  if (response->status() == 401 && response->url().same_origin(endpoint_.base)) {
    CO_TRY(auth_.learn(response->headers(), response->peer_is_private(), ask.repository, authorization));
    Error first = co_await refusal(*response, ask, attempt, token);
    response = std::unexpected(std::move(first));
    std::string second = CO_TRY(co_await auth_.authorization(ask.repository, attempt, token));
    if (second == authorization) co_return response;
    authorization = std::move(second);
    response = co_await send(ask, authorization, attempt, token);
    if (!response) co_return response;
  }
  const int status = response->status();
  if (status == 200 || status == 206) co_return response;
  Error error = co_await refusal(*response, ask, attempt, token);
  co_return std::unexpected(std::move(error));
}

void Session::set_aside() {
  constexpr int64_t kPauseNs = 60'000'000'000;
  aside_until_ns_ = context_->reactor.now_ns() + kPauseNs;
}

bool Session::is_set_aside() const {
  return context_->reactor.now_ns() < aside_until_ns_;
}

}  // namespace lambdo::registry
