#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "http/server/byte_budget.h"
#include "http/server/response_head.h"
#include "http/server/router.h"
#include "reactor/event.h"
#include "reactor/listener.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"

namespace lambdo::http {

class Connection;

struct ServerOptions {
  std::string host = "127.0.0.1";  ///< an IPv4 or IPv6 address
  uint16_t port = 3000;            ///< 0: the kernel chooses
  size_t max_connections = 1024;   ///< one more is answered with 503 and closed
  size_t max_header_bytes = 16 << 10;
  size_t max_body_bytes = 16 << 20;
  /// Of all connections together: bodies of requests until their handler has ended, and responses over 32 KiB
  /// until they are written. What does not fit is answered with 503.
  size_t max_buffered_bytes = 512 << 20;
  int64_t header_timeout_ms = 10'000;  ///< from a request's first byte to the end of its head: 408
  int64_t body_timeout_ms = 60'000;    ///< from there to the end of its body: 408
  int64_t idle_timeout_ms = 75'000;    ///< without a request: closed silently
  int64_t write_timeout_ms = 30'000;   ///< without the client taking any byte of a response: closed
  /// For the whole of a response a client gets write_timeout_ms, and a second more for each of these that it
  /// has taken: one that takes a byte now and then is closed too.
  size_t min_write_bytes_per_s = 16 << 10;
};

/// Counters since the start, and two gauges.
struct ServerStatistics {
  uint64_t connections_open = 0;  ///< now
  uint64_t buffered_bytes = 0;    ///< now, of max_buffered_bytes
  uint64_t connections_accepted = 0;
  uint64_t connections_refused = 0;  ///< of those: over max_connections
  uint64_t requests = 0;             ///< handed to the router
  uint64_t parse_errors = 0;         ///< requests refused before that, without timeouts
  uint64_t timeouts = 0;             ///< of header, body, idle and write
  uint64_t over_budget = 0;          ///< requests and responses refused: over max_buffered_bytes
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
};

/// What the connections of a server share.
struct ServerContext {
  ServerContext(reactor::Reactor& owner, const Router& routes, ServerOptions server_options)
      : reactor(owner),
        router(routes),
        options(std::move(server_options)),
        budget(options.max_buffered_bytes) {}

  reactor::Reactor& reactor;
  const Router& router;
  const ServerOptions options;
  ByteBudget budget;
  ServerStatistics statistics;
  ResponseHeadWriter head_writer;
  bool draining = false;  ///< connections from before are on their way out, new ones get one answer
  bool closing = false;   ///< no connection waits for a request any more
};

/// An HTTP/1.1 and 1.0 server.
///
///   Server server(reactor, router, options);
///   TRY(server.listen());
///   scope.spawn(server.serve());
///   co_await server.stop(reactor.now_ns() + 5'000'000'000);
class Server {
 public:
  /// `reactor` and `router` outlive the server.
  Server(reactor::Reactor& reactor, const Router& router, ServerOptions options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Where `listen` was called, `serve` or `stop` must have returned.
  ~Server();

  /// Binds; connections queue up from now on.
  Result<> listen();
  /// The port in use, after `listen`.
  [[nodiscard]] uint16_t port() const { return listener_->port(); }
  /// Serves until `stop`, and returns when the last connection is closed.
  Task<> serve();
  /// Closes idle connections at once and lets running requests end until `deadline_ns` of CLOCK_MONOTONIC;
  /// what runs then has its `client_gone` cancelled and its connection closed. As long as requests from
  /// before run, new connections are still taken, for one answer each: who asks for the server's health
  /// learns that it ends, and who asks for more is refused by the handler. Returns when nothing is left. May
  /// be called again meanwhile, for an earlier deadline.
  Task<> stop(int64_t deadline_ns);

  [[nodiscard]] ServerStatistics statistics() const;

 private:
  Task<> accept_connections();
  Task<std::optional<Fd>> next_socket();
  Task<> serve_connection(Fd socket, bool refuse);

  ServerContext context_;
  std::optional<reactor::Listener> listener_;
  reactor::Scope scope_;
  reactor::CancelSource accepting_;
  reactor::Event connection_ended_;
  reactor::Event stopped_;
  std::unordered_set<Connection*> connections_;
  size_t earlier_ = 0;  ///< of connections_: from before the draining
  size_t refusing_ = 0;
  bool serving_ = false;
  bool accept_failing_ = false;
};

}  // namespace lambdo::http
