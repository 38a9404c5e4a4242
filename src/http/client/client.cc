#include "http/client/client.h"

#include <utility>

#include "http/client/connection_pool.h"
#include "http/client/dialer.h"
#include "http/client/exchange.h"
#include "http/client/redirects.h"
#include "http/client/request_writer.h"
#include "http/client/time_limit.h"

namespace lambdo::http {

namespace {

// Certificates and handshakes one after another: many at once would only take the processor from the guests.
constexpr size_t kThreads = 1;
/// A redirect's body that is longer is not worth reading.
constexpr size_t kMaxDrainedBytes = 64 << 10;
/// Nor is one that comes slowly.
constexpr int64_t kMaxDrainMs = 1000;

/// May be sent twice without harm (RFC 9110, 9.2.2).
bool is_idempotent(Method method) {
  return method != Method::post && method != Method::patch;
}

Result<> check_settings(const ClientSettings& settings) {
  const ClientLimits& limits = settings.limits;
  if (limits.connections_per_host == 0) return fail(Code::invalid_argument, "connections_per_host is 0");
  if (limits.max_head_bytes == 0) return fail(Code::invalid_argument, "max_head_bytes is 0");
  for (const char c : settings.user_agent) {
    if (c < ' ' || c > '~')
      return fail(Code::invalid_argument, "user_agent has characters beside ASCII text");
  }
  return {};
}

std::string pool_key(const Url& url, const Proxy* proxy) {
  std::string key = url.scheme + "://" + url.host + " port " + std::to_string(url.port);
  if (proxy != nullptr) key += " by the proxy " + proxy->host + " port " + std::to_string(proxy->port);
  return key;
}

}  // namespace

class ClientCore {
 public:
  ClientCore(reactor::Reactor& reactor, ClientSettings settings)
      : reactor_(&reactor),
        settings_(std::move(settings)),
        rules_(settings_.proxies),
        threads_(reactor, kThreads),
        dialer_(reactor, threads_, settings_),
        pool_(reactor, {settings_.limits.connections_per_host, settings_.limits.kept_per_host,
                        settings_.limits.kept_connections, settings_.timeouts.kept_connection_ms}) {}

  Task<Result<IncomingResponse>> send(ClientRequest request, CancelToken token) {
    CO_TRY(check_request_to_send(request));
    Redirects redirects(settings_.limits.max_redirects, request.url);
    while (true) {
      auto response = co_await exchange(request, token);
      if (!response) co_return std::unexpected(redirects.explain(std::move(response).error(), request));
      if (!Redirects::is_redirect(request, *response)) co_return response;
      CO_TRY(redirects.follow(request, *response));
      CO_TRY(check_request_to_send(request));
      // So that the connection can be kept.
      if (response->content_length().value_or(SIZE_MAX) <= kMaxDrainedBytes) {
        TimeLimit limit(*reactor_, kMaxDrainMs, token);
        (void)co_await response->read_all(kMaxDrainedBytes, limit.token());
      }
    }
  }

  ConnectionPool& pool() { return pool_; }

 private:
  /// One request to one place. `request` outlives it.
  Task<Result<IncomingResponse>> exchange(const ClientRequest& request, CancelToken token) {
    const Url& url = request.url;
    const Proxy* proxy = CO_TRY(rules_.choose(url));
    const Proxy* asked = url.scheme == "http" ? proxy : nullptr;
    auto slot = CO_TRY(co_await pool_.slot(pool_key(url, proxy), token));
    // The server may end a kept connection just as we send on it; only a request that may be sent twice can
    // take that risk.
    std::optional<ClientConnection> kept;
    if (is_idempotent(request.method)) {
      kept = slot.take_kept(request.addresses == AddressScope::public_only);
    }
    const bool is_kept = kept.has_value();
    if (!kept) kept = CO_TRY(co_await dialer_.dial(url, proxy, request.addresses, token));
    auto first = std::make_unique<Exchange>(*reactor_, settings_, std::move(slot), std::move(*kept), url,
                                            request.method);
    auto performed =
        co_await first->perform(request_head(request, asked, settings_.user_agent), request.body, token);
    if (performed) co_return IncomingResponse(std::move(first));
    const bool is_stale = is_kept && performed.error().code == Code::closed && !first->parser().started();
    if (!is_stale) co_return std::unexpected(std::move(performed).error());

    auto again = first->take_slot();
    first.reset();
    auto fresh = CO_TRY(co_await dialer_.dial(url, proxy, request.addresses, token));
    auto second = std::make_unique<Exchange>(*reactor_, settings_, std::move(again), std::move(fresh), url,
                                             request.method);
    CO_TRY(co_await second->perform(request_head(request, asked, settings_.user_agent), request.body, token));
    co_return IncomingResponse(std::move(second));
  }

  reactor::Reactor* reactor_;
  const ClientSettings settings_;
  const ProxyRules rules_;
  reactor::BlockingPool threads_;
  Dialer dialer_;
  ConnectionPool pool_;
};

Result<std::unique_ptr<Client>> Client::create(reactor::Reactor& reactor, ClientSettings settings) {
  TRY(check_settings(settings));
  return std::unique_ptr<Client>(new Client(std::make_unique<ClientCore>(reactor, std::move(settings))));
}

Client::Client(std::unique_ptr<ClientCore> core) : core_(std::move(core)) {}
Client::~Client() = default;

Task<Result<IncomingResponse>> Client::send(ClientRequest request, CancelToken token) {
  return core_->send(std::move(request), token);
}

Task<Result<ClientResponse>> Client::fetch(ClientRequest request, size_t max_body_bytes, CancelToken token) {
  auto incoming = CO_TRY(co_await send(std::move(request), token));
  ClientResponse response;
  response.body = CO_TRY(co_await incoming.read_all(max_body_bytes, token));
  response.status = incoming.status();
  response.headers = incoming.headers();
  response.url = incoming.url();
  response.peer_is_private = incoming.peer_is_private();
  co_return response;
}

Task<> Client::close() {
  return core_->pool().close();
}

size_t Client::kept_connections() const {
  return core_->pool().kept();
}

}  // namespace lambdo::http
