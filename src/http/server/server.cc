#include "http/server/server.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "http/server/connection.h"
#include "reactor/timer.h"

namespace lambdo::http {

/// Connections over the limit that are told so at the same time; further ones wait in the backlog.
static constexpr size_t kMaxRefusing = 64;
static constexpr int64_t kAcceptRetryMs = 100;
/// For the last answers on connections that came while draining.
static constexpr int64_t kLastAnswersNs = 1'000'000'000;

Server::Server(reactor::Reactor& reactor, const Router& router, ServerOptions options)
    : context_(reactor, router, std::move(options)),
      scope_(reactor),
      connection_ended_(reactor),
      stopped_(reactor) {}

Server::~Server() {
  CHECK(connections_.empty());
}

ServerStatistics Server::statistics() const {
  ServerStatistics statistics = context_.statistics;
  statistics.buffered_bytes = context_.budget.used_bytes();
  return statistics;
}

Result<> Server::listen() {
  auto listener =
      reactor::Listener::listen_tcp(context_.reactor, context_.options.host, context_.options.port);
  if (!listener) return std::unexpected(std::move(listener).error().with_context("HTTP server"));
  listener_.emplace(std::move(*listener));
  return {};
}

Task<> Server::serve() {
  CHECK(listener_ && !serving_);
  serving_ = true;
  co_await accept_connections();
  co_await listener_->close();
  co_await scope_.join();
  stopped_.set();
}

Task<> Server::accept_connections() {
  while (true) {
    std::optional<Fd> socket = co_await next_socket();
    if (!socket) co_return;
    ServerStatistics& statistics = context_.statistics;
    const bool refuse = statistics.connections_open - refusing_ >= context_.options.max_connections;
    ++statistics.connections_open;
    ++statistics.connections_accepted;
    if (refuse) {
      ++statistics.connections_refused;
      ++refusing_;
    }
    scope_.spawn(serve_connection(std::move(*socket), refuse));
  }
}

/// The next connection; none when the server stops. Waits out a lack of descriptors or memory.
Task<std::optional<Fd>> Server::next_socket() {
  const CancelToken token = accepting_.token();
  while (!token.cancelled()) {
    if (refusing_ >= kMaxRefusing) {
      (void)co_await connection_ended_.wait(token);
      continue;
    }
    auto socket = co_await listener_->accept(token);
    if (socket) {
      accept_failing_ = false;
      co_return std::move(*socket);
    }
    if (token.cancelled()) break;
    if (!std::exchange(accept_failing_, true)) {
      log::warning("cannot accept connections for the moment, trying again",
                   {{"error", socket.error().message}});
    }
    (void)co_await reactor::SleepOp::for_ms(context_.reactor, kAcceptRetryMs, token);
  }
  co_return std::nullopt;
}

Task<> Server::serve_connection(Fd socket, bool refuse) {
  {
    Connection connection(context_, std::move(socket));
    connections_.insert(&connection);
    if (!connection.is_late()) ++earlier_;
    co_await (refuse ? connection.refuse() : connection.serve());
    if (!connection.is_late()) --earlier_;
    connections_.erase(&connection);
  }
  --context_.statistics.connections_open;
  if (refuse) --refusing_;
  connection_ended_.notify_all();
}

Task<> Server::stop(int64_t deadline_ns) {
  context_.draining = true;
  for (Connection* connection : connections_) connection->drain();
  reactor::Deadline deadline(context_.reactor, deadline_ns);
  while (earlier_ > 0 && !deadline.token().cancelled()) {
    (void)co_await connection_ended_.wait(deadline.token());
  }
  context_.closing = true;
  accepting_.cancel();
  if (!serving_) {
    if (listener_) co_await listener_->close();
    co_return;
  }
  for (Connection* connection : connections_) connection->drain();
  deadline.set(std::min(deadline_ns, context_.reactor.now_ns() + kLastAnswersNs));
  (void)co_await stopped_.wait(deadline.token());
  for (Connection* connection : connections_) connection->abort();
  co_await stopped_.wait();
}

}  // namespace lambdo::http
