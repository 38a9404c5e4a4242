#include "http/client/connect_any.h"

#include <deque>
#include <optional>
#include <utility>

#include "reactor/event.h"
#include "reactor/listener.h"
#include "reactor/scope.h"
#include "reactor/timer.h"

namespace lambdo::http {

namespace {

constexpr int64_t kStaggerNs = 250'000'000;  // RFC 8305, 5

struct Race {
  explicit Race(reactor::Reactor& reactor) : changed(reactor) {}

  reactor::Event changed;
  std::optional<ConnectedSocket> winner;
  std::optional<Error> first_error;
  size_t failed = 0;
};

/// `race` outlives it: the scope that it runs in is joined first.
reactor::Task<> attempt(reactor::Reactor& reactor, Race& race, IpAddress address, uint16_t port,
                        reactor::CancelToken token) {
  auto socket = co_await reactor::connect_tcp(reactor, address.text(), port, token);
  if (socket && !race.winner) {
    race.winner.emplace(std::move(*socket), address);
  } else if (!socket) {
    ++race.failed;
    if (!race.first_error) race.first_error = std::move(socket).error();
  }
  race.changed.notify_all();
}

}  // namespace

std::vector<IpAddress> interleaved(const std::vector<IpAddress>& addresses) {
  std::deque<IpAddress> same;
  std::deque<IpAddress> other;
  for (const IpAddress& address : addresses) {
    (address.is_ipv6() == addresses.front().is_ipv6() ? same : other).push_back(address);
  }
  std::vector<IpAddress> out;
  while (!same.empty() || !other.empty()) {
    for (auto* queue : {&same, &other}) {
      if (queue->empty()) continue;
      out.push_back(queue->front());
      queue->pop_front();
    }
  }
  return out;
}

reactor::Task<Result<ConnectedSocket>> connect_any(reactor::Reactor& reactor,
                                                   std::vector<IpAddress> addresses, uint16_t port,
                                                   reactor::CancelToken token) {
  Race race(reactor);
  reactor::Scope attempts(reactor, token);
  const std::vector<IpAddress> order = interleaved(addresses);
  size_t started = 0;
  while (!race.winner && !token.cancelled() && race.failed < order.size()) {
    if (started < order.size()) {
      attempts.spawn(attempt(reactor, race, order[started++], port, attempts.token()));
    }
    const size_t failed = race.failed;
    std::optional<reactor::Deadline> patience;
    if (started < order.size()) patience.emplace(reactor, reactor.now_ns() + kStaggerNs, token);
    while (!race.winner && race.failed == failed) {
      if (!co_await race.changed.wait(patience ? patience->token() : token)) break;
    }
  }
  attempts.cancel();
  co_await attempts.join();
  if (race.winner) co_return std::move(*race.winner);
  if (token.cancelled() || !race.first_error) co_return fail(Code::cancelled, "connecting was cancelled");
  Error error = std::move(*race.first_error);
  if (order.size() > 1) {
    error.message += ", as do " + std::to_string(order.size() - 1) + " other addresses";
  }
  co_return std::unexpected(std::move(error));
}

}  // namespace lambdo::http
