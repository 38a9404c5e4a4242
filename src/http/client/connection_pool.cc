#include "http/client/connection_pool.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "base/check.h"

namespace lambdo::http {

bool is_quiet(const ClientConnection& connection) {
  char byte = 0;
  const ssize_t count = ::recv(connection.socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

ConnectionPool::ConnectionPool(reactor::Reactor& reactor, PoolLimits limits)
    : reactor_(&reactor), limits_(limits), idle_(reactor) {}

ConnectionPool::~ConnectionPool() {
  CHECK(in_use_ == 0);
}

reactor::Task<Result<ConnectionPool::Slot>> ConnectionPool::slot(std::string key,
                                                                 reactor::CancelToken token) {
  if (closing_) co_return fail(Code::shutting_down, "the HTTP client is shutting down");
  const auto host = hosts_.try_emplace(std::move(key), *reactor_).first;
  Result<> waited;
  while (waited && !closing_ && host->second.in_use >= limits_.connections_per_host) {
    if (host->second.waiting >= kMaxWaiting) {
      co_return fail(Code::overloaded, "too many requests wait for a connection to " + host->first);
    }
    ++host->second.waiting;
    waited = co_await host->second.changed.wait(token);
    --host->second.waiting;
  }
  if (waited && !closing_) {
    ++host->second.in_use;
    ++in_use_;
    co_return Slot(*this, host);
  }
  // A slot that became free may have woken this one only.
  host->second.changed.notify_one();
  forget_if_unused(host);
  if (closing_) co_return fail(Code::shutting_down, "the HTTP client is shutting down");
  co_return std::unexpected(std::move(waited).error());
}

void ConnectionPool::give_back(Hosts::iterator host) {
  --host->second.in_use;
  --in_use_;
  host->second.changed.notify_one();
  forget_if_unused(host);
  if (in_use_ == 0) idle_.notify_all();
}

void ConnectionPool::forget_if_unused(Hosts::iterator host) {
  const Host& state = host->second;
  if (state.in_use == 0 && state.waiting == 0 && state.kept.empty()) hosts_.erase(host);
}

std::optional<ClientConnection> ConnectionPool::Slot::take_kept(bool public_only) {
  auto& kept = host_->second.kept;
  for (size_t i = kept.size(); i-- > 0;) {
    if (public_only && kept[i].peer_is_private) continue;
    ClientConnection connection = std::move(kept[i]);
    kept.erase(kept.begin() + static_cast<ptrdiff_t>(i));
    --pool_->kept_;
    if (is_quiet(connection)) return connection;
  }
  return std::nullopt;
}

void ConnectionPool::Slot::keep(ClientConnection connection) {
  auto& kept = host_->second.kept;
  const PoolLimits& limits = pool_->limits_;
  if (pool_->closing_ || limits.kept_connection_ms <= 0 || limits.kept_per_host == 0) return;
  if (kept.size() >= limits.kept_per_host) {
    kept.erase(kept.begin());
    --pool_->kept_;
  }
  while (pool_->kept_ > 0 && pool_->kept_ >= limits.kept_connections) pool_->end_oldest();
  if (pool_->kept_ >= limits.kept_connections) return;
  connection.kept_until_ns = pool_->reactor_->now_ns() + limits.kept_connection_ms * 1'000'000;
  // The oldest one's time is over first: the timer is set for it.
  if (pool_->kept_ == 0) pool_->reaper_.wake_at(connection.kept_until_ns);
  kept.push_back(std::move(connection));
  ++pool_->kept_;
}

void ConnectionPool::end_old() {
  const int64_t now = reactor_->now_ns();
  int64_t next = std::numeric_limits<int64_t>::max();
  for (auto host = hosts_.begin(); host != hosts_.end();) {
    auto& kept = host->second.kept;
    kept_ -= std::erase_if(kept, [now](const ClientConnection& one) { return one.kept_until_ns <= now; });
    for (const ClientConnection& one : kept) next = std::min(next, one.kept_until_ns);
    forget_if_unused(host++);
  }
  if (kept_ > 0) reaper_.wake_at(next);
}

void ConnectionPool::end_oldest() {
  auto oldest = hosts_.end();
  for (auto host = hosts_.begin(); host != hosts_.end(); ++host) {
    if (host->second.kept.empty()) continue;
    if (oldest == hosts_.end() ||
        host->second.kept.front().kept_until_ns < oldest->second.kept.front().kept_until_ns)
      oldest = host;
  }
  CHECK(oldest != hosts_.end());
  oldest->second.kept.erase(oldest->second.kept.begin());
  --kept_;
  forget_if_unused(oldest);
}

reactor::Task<> ConnectionPool::close() {
  closing_ = true;
  for (auto host = hosts_.begin(); host != hosts_.end();) {
    host->second.kept.clear();
    host->second.changed.notify_all();
    forget_if_unused(host++);
  }
  kept_ = 0;
  while (in_use_ > 0) co_await idle_.wait();
}

}  // namespace lambdo::http
