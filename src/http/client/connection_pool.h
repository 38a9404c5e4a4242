#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "http/client/client_connection.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::http {

struct PoolLimits {
  size_t connections_per_host;
  size_t kept_per_host;
  size_t kept_connections;
  int64_t kept_connection_ms;
};

/// Keeps connections for later requests, and bounds how many of a host are in use. What a host is, is the
/// caller's key: scheme, name, port and proxy.
class ConnectionPool {
  struct Host;
  using Hosts = std::map<std::string, Host>;

 public:
  /// Requests that wait for a slot of one host; beyond, they are refused.
  static constexpr size_t kMaxWaiting = 1024;

  ConnectionPool(reactor::Reactor& reactor, PoolLimits limits);
  /// All slots must have been given back.
  ~ConnectionPool();
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  /// The right to have one connection to a host. Gives it back when it dies.
  class [[nodiscard]] Slot {
   public:
    Slot(Slot&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), host_(other.host_) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (pool_ != nullptr) pool_->give_back(host_);
    }
    /// A kept connection that is still good, the one used last; of those to public addresses only, if asked.
    [[nodiscard]] std::optional<ClientConnection> take_kept(bool public_only);
    /// Keeps a connection for the next request, as far as the limits allow.
    void keep(ClientConnection connection);

   private:
    friend ConnectionPool;
    Slot(ConnectionPool& pool, Hosts::iterator host) : pool_(&pool), host_(host) {}

    ConnectionPool* pool_;
    Hosts::iterator host_;
  };

  /// Waits until the host has a slot free. Code::overloaded where too many wait, Code::shutting_down after
  /// `close`.
  reactor::Task<Result<Slot>> slot(std::string key, reactor::CancelToken token);
  /// No more slots; ends what is kept and waits until all slots are back.
  reactor::Task<> close();
  [[nodiscard]] size_t kept() const { return kept_; }

 private:
  struct Host {
    explicit Host(reactor::Reactor& reactor) : changed(reactor) {}
    size_t in_use = 0;
    size_t waiting = 0;
    std::vector<ClientConnection> kept;  // the one used last is at the end
    reactor::Event changed;
  };

  /// Ends connections that have been kept for too long.
  class Reaper final : private reactor::Timer {
   public:
    explicit Reaper(ConnectionPool& pool) : Timer(*pool.reactor_), pool_(&pool) {}
    void wake_at(int64_t moment_ns) { arm(moment_ns); }

   private:
    void fire() override { pool_->end_old(); }
    ConnectionPool* pool_;
  };

  void give_back(Hosts::iterator host);
  void forget_if_unused(Hosts::iterator host);
  void end_old();
  void end_oldest();

  reactor::Reactor* reactor_;
  PoolLimits limits_;
  Hosts hosts_;
  size_t kept_ = 0;
  size_t in_use_ = 0;
  bool closing_ = false;
  reactor::Event idle_;
  Reaper reaper_{*this};
};

}  // namespace lambdo::http
