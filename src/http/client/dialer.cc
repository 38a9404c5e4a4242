#include "http/client/dialer.h"

#include <array>
#include <utility>

#include "http/client/connect_any.h"
#include "http/client/private_address.h"
#include "http/client/response_parser.h"
#include "http/client/time_limit.h"
#include "http/client/tls_stream.h"

namespace lambdo::http {

namespace {

std::string private_address_refused(const std::string& host) {
  return "\"" + host + "\" has a private address, where only public ones are allowed";
}

/// The status of the proxy's answer; what follows its head would be the server speaking before it was spoken
/// to.
reactor::Task<Result<int>> read_tunnel_answer(reactor::Stream& stream, size_t max_head_bytes,
                                              reactor::CancelToken token) {
  ResponseParser parser(ResponseParser::Body::none, max_head_bytes);
  std::array<std::byte, 4096> buffer{};
  while (!parser.head_complete()) {
    const size_t count = CO_TRY(co_await stream.receive_into(buffer, token));
    if (count == 0) CO_TRY(parser.finish());
    CO_TRY(parser.feed(std::span(buffer).first(count)));
  }
  if (parser.status() / 100 == 2 && parser.has_surplus()) {
    co_return fail(Code::io, "the proxy sends data before the tunnel is used");
  }
  co_return parser.status();
}

}  // namespace

bool is_private_by_name(const Url& url) {
  if (is_localhost(url.host)) return true;
  const auto address = IpAddress::parse(url.host);
  return address && is_private(*address);
}

Dialer::Dialer(reactor::Reactor& reactor, reactor::BlockingPool& pool, const ClientSettings& settings)
    : reactor_(&reactor),
      settings_(&settings),
      resolver_(reactor, pool, {settings.name_servers, settings.hosts_file}),
      tls_(reactor, pool, {settings.ca_bundle, settings.extra_ca_files}) {}

reactor::Task<Result<std::vector<IpAddress>>> Dialer::look_up(std::string host, reactor::CancelToken token) {
  TimeLimit limit(*reactor_, settings_->timeouts.name_ms, token);
  auto addresses = co_await resolver_.resolve(host, limit.token());
  if (!addresses) {
    co_return std::unexpected(
        limit.explain(std::move(addresses).error(), "looking up the name \"" + host + "\""));
  }
  co_return addresses;
}

reactor::Task<Result<ClientConnection>> Dialer::connect(std::string host, uint16_t port, AddressScope scope,
                                                        reactor::CancelToken token) {
  auto addresses = CO_TRY(co_await look_up(host, token));
  if (scope == AddressScope::public_only) {
    std::erase_if(addresses, [](const IpAddress& address) { return is_private(address); });
    if (addresses.empty()) co_return fail(Code::permission_denied, private_address_refused(host));
  }
  TimeLimit limit(*reactor_, settings_->timeouts.connect_ms, token);
  auto connected = co_await connect_any(*reactor_, std::move(addresses), port, limit.token());
  if (!connected) {
    const std::string what = "connecting to " + host + " port " + std::to_string(port);
    if (limit.passed()) co_return std::unexpected(limit.explain(std::move(connected).error(), what));
    co_return std::unexpected(std::move(connected).error().with_context(what));
  }
  ClientConnection connection;
  connection.socket = connected->socket.get();
  connection.peer_is_private = is_private(connected->peer);
  connection.stream = std::make_unique<reactor::SocketStream>(*reactor_, std::move(connected->socket));
  co_return connection;
}

reactor::Task<Result<std::unique_ptr<reactor::Stream>>> Dialer::secure(
    std::unique_ptr<reactor::Stream> stream, std::string host, reactor::CancelToken token) {
  TimeLimit limit(*reactor_, settings_->timeouts.tls_ms, token);
  auto secured = co_await TlsStream::connect(tls_, std::move(stream), host, limit.token());
  if (!secured) {
    co_return std::unexpected(limit.explain(std::move(secured).error(), "the TLS handshake with " + host));
  }
  co_return std::unique_ptr<reactor::Stream>(std::move(*secured));
}

reactor::Task<Result<>> Dialer::open_tunnel(reactor::Stream& stream, Url url, const Proxy& proxy,
                                            reactor::CancelToken token) {
  // RFC 9110, 9.3.6: the port is always there.
  const std::string target =
      (url.host.contains(':') ? "[" + url.host + "]" : url.host) + ":" + std::to_string(url.port);
  std::string text = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n";
  if (!proxy.authorization.empty()) text += "Proxy-Authorization: " + proxy.authorization + "\r\n";
  text += "User-Agent: " + settings_->user_agent + "\r\n\r\n";

  const std::string name = "the proxy " + proxy.host + " port " + std::to_string(proxy.port);
  TimeLimit limit(*reactor_, settings_->timeouts.response_head_ms, token);
  CO_TRY(co_await stream.send(reactor::as_bytes(text), limit.token()));
  const auto status = co_await read_tunnel_answer(stream, settings_->limits.max_head_bytes, limit.token());
  if (!status) {
    Error error = limit.explain(status.error(), "the answer of " + name);
    if (error.code == Code::timeout) co_return std::unexpected(std::move(error));
    co_return std::unexpected(std::move(error).with_context(name));
  }
  if (*status / 100 == 2) co_return Result<>{};
  if (*status == 407) {
    co_return fail(Code::unauthorized,
                   name + " wants a user name and password that it accepts: http://user:password@host:port");
  }
  co_return fail(Code::io, name + " refuses to connect to " + target + ": status " + std::to_string(*status));
}

reactor::Task<Result<ClientConnection>> Dialer::dial(Url url, const Proxy* proxy, AddressScope scope,
                                                     reactor::CancelToken token) {
  const bool is_secure = url.scheme == "https";
  if (proxy == nullptr) {
    auto connection = CO_TRY(co_await connect(url.host, url.port, scope, token));
    if (is_secure) connection.stream = CO_TRY(co_await secure(std::move(connection.stream), url.host, token));
    co_return connection;
  }
  const bool is_private = is_private_by_name(url);
  if (is_private && scope == AddressScope::public_only) {
    co_return fail(Code::permission_denied, private_address_refused(url.host));
  }
  auto connection = CO_TRY(co_await connect(proxy->host, proxy->port, AddressScope::any, token));
  connection.peer_is_private = is_private;
  if (proxy->scheme == "https") {
    connection.stream = CO_TRY(co_await secure(std::move(connection.stream), proxy->host, token));
  }
  if (is_secure) {
    CO_TRY(co_await open_tunnel(*connection.stream, url, *proxy, token));
    connection.stream = CO_TRY(co_await secure(std::move(connection.stream), url.host, token));
  }
  co_return connection;
}

}  // namespace lambdo::http
