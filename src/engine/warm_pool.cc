#include "engine/warm_pool.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"
#include "reactor/timer.h"

namespace lambdo::engine {

static constexpr int64_t kFirstRetryMs = 100;
static constexpr int64_t kLongestRetryMs = 5000;
static constexpr int kDetachAttempts = 3;

WarmPool::WarmPool(reactor::Reactor& reactor, Engine& engine, AgentGrpc& agents, StartSlots& slots,
                   net::GuestNetwork* network, Options options)
    : reactor_(reactor),
      engine_(engine),
      agents_(agents),
      slots_(slots),
      network_(network),
      options_(std::move(options)),
      changed_(reactor),
      scope_(reactor) {}

reactor::Task<Result<ReadyGuest>> WarmPool::acquire(reactor::CancelToken token) {
  drop_dead();
  ++waiting_;
  // A guest that is there is left to work in peace: its place is filled when the run has ended, or now if it
  // was the last.
  if (ready_.size() <= 1) refill();
  Result<> woken;
  while (woken && ready_.empty() && failures_.empty()) {
    woken = co_await changed_.wait(token);
    // Somebody who came in between may have taken what this one was woken for.
    if (woken && ready_.empty()) refill();
  }
  --waiting_;
  if (!ready_.empty()) {
    ReadyGuest guest = std::move(ready_.front());
    ready_.pop_front();
    forget_untold_failures();
    co_return guest;
  }
  if (!woken) {
    forget_untold_failures();
    co_return std::unexpected(std::move(woken).error());
  }
  Error error = std::move(failures_.front());
  failures_.pop_front();
  co_return std::unexpected(std::move(error));
}

/// A failure is for somebody who waited when it happened: nobody who comes later is told.
void WarmPool::forget_untold_failures() {
  while (failures_.size() > waiting_) failures_.pop_front();
}

void WarmPool::refill() {
  // One that waits for a slot or a retry counts as starting, so a burst of callers asks for just what it
  // needs.
  while (!stopping_ && ready_.size() + starting_ < options_.target + waiting_) {
    ++starting_;
    scope_.spawn(start_one());
  }
}

void WarmPool::drop_dead() {
  for (auto it = ready_.begin(); it != ready_.end();) {
    if (it->guest->alive()) {
      ++it;
      continue;
    }
    log::warning("a waiting guest has ended by itself", {{"language", options_.name}});
    dispose(std::move(*it));
    it = ready_.erase(it);
  }
}

reactor::Task<> WarmPool::start_one() {
  if (next_start_ns_ > reactor_.now_ns()) {
    (void)co_await reactor::SleepOp::until(reactor_, next_start_ns_, scope_.token());
  }
  while (!may_start() && !stopping_) (void)co_await slots_.freed.wait(scope_.token());
  if (stopping_) {
    --starting_;
    co_return;
  }
  --slots_.free;
  ++slots_held_;
  Result<ReadyGuest> guest = co_await start_guest();
  ++slots_.free;
  --slots_held_;
  // Whoever waits first may be of a pool that has its share: all look, in their order.
  slots_.freed.notify_all();
  --starting_;
  if (guest) {
    ++started_total_;
    retry_delay_ms_ = 0;
    if (ready_.size() < options_.target + waiting_) {
      ready_.push_back(std::move(*guest));
      changed_.notify_one();
    } else {
      dispose(std::move(*guest));  // who it was started for has gone
    }
  } else if (!stopping_) {
    note_failure(guest.error());
    refill();
  }
}

reactor::Task<Result<>> WarmPool::create(ReadyGuest& started) {
  std::optional<net::AttachedGuest> network;
  if (options_.network) {
    auto attached = co_await network_->attach(*options_.network, scope_.token());
    if (!attached) {
      const Code code = attached.error().code;
      const bool is_callers = code == Code::resource_exhausted || code == Code::cancelled;
      co_return std::unexpected(std::move(attached)
                                    .error()
                                    .with_code(is_callers ? code : Code::engine_failed)
                                    .with_context("network"));
    }
    started.port = attached->port;
    started.reaches = *options_.network;
    network = std::move(*attached);
  }
  auto guest = co_await engine_.create_guest(options_.language, std::move(network), scope_.token());
  if (guest) {
    started.guest = std::move(*guest);
    co_return Result<>{};
  }
  co_await detach(std::move(started.port));
  co_return std::unexpected(std::move(guest).error());
}

/// Once nothing of the guest is left that could send. If something is after all, it is behind a closed port.
reactor::Task<> WarmPool::detach(std::string port) {
  if (port.empty()) co_return;
  if (const auto traffic = co_await network_->counters(port)) traffic_total_ += *traffic;
  for (int attempt = 1;; ++attempt) {
    const auto detached = co_await network_->detach(port);
    if (detached) co_return;
    log::error("a guest could not be taken off the network",
               {{"language", options_.name}, {"port", port}, {"error", detached.error().message}});
    // Its address is lost to others until then, or until the server starts again.
    if (attempt == kDetachAttempts || !network_->alive()) co_return;
    (void)co_await reactor::SleepOp::for_ms(reactor_, kFirstRetryMs, {});
  }
}

reactor::Task<Result<ReadyGuest>> WarmPool::start_guest() {
  ReadyGuest started;
  CO_TRY(co_await create(started));
  auto agent = AgentConnection::create(agents_, started.guest->take_agent_socket());
  Result<> ready;
  reactor::Deadline deadline(reactor_, reactor_.now_ns() + options_.start_timeout_ms * 1'000'000,
                             scope_.token());
  if (agent) {
    started.agent = std::move(*agent);
    ready = co_await started.agent->wait_ready(deadline.token());
    if (ready) ready = co_await started.guest->configure(*started.agent, deadline.token());
  } else {
    ready = std::unexpected(std::move(agent).error());
  }
  if (ready) co_return started;
  std::optional<Error> end;
  if (!deadline.passed()) end = co_await started.guest->reason_of_end();
  co_await destroy(std::move(started));
  if (end) {
    // Without an agent to lose, it is the start that failed.
    const Code code = end->code == Code::agent_lost ? Code::engine_failed : end->code;
    co_return std::unexpected(std::move(*end).with_code(code));
  }
  if (deadline.passed()) {
    co_return fail(Code::engine_failed, "the guest's agent did not answer within " +
                                            std::to_string(options_.start_timeout_ms) + " ms");
  }
  co_return std::unexpected(std::move(ready).error().with_code(Code::engine_failed));
}

void WarmPool::note_failure(const Error& error) {
  ++failed_total_;
  // Starts that fail together are one failure; the next one waits longer.
  const int64_t now_ns = reactor_.now_ns();
  if (now_ns >= next_start_ns_) {
    retry_delay_ms_ = std::clamp(retry_delay_ms_ * 2, kFirstRetryMs, kLongestRetryMs);
    next_start_ns_ = now_ns + retry_delay_ms_ * 1'000'000;
  }
  log::error("a guest could not be started",
             {{"language", options_.name}, {"error", error.message}, {"retry_ms", retry_delay_ms_}});
  if (waiting_ > failures_.size()) {
    failures_.push_back(error);
    changed_.notify_one();
  }
}

reactor::Task<> WarmPool::destroy(ReadyGuest used) {
  used.agent.reset();
  const auto usage = co_await used.guest->destroy();
  co_await detach(std::move(used.port));
  if (!usage) {
    log::error("a guest could not be destroyed",
               {{"language", options_.name}, {"error", usage.error().message}});
    co_return;
  }
  cpu_us_total_ += usage->cpu_us;
  memory_peak_bytes_ = std::max(memory_peak_bytes_, usage->memory_peak_bytes);
}

void WarmPool::dispose(ReadyGuest used) {
  scope_.spawn(destroy(std::move(used)));
}

reactor::Task<> WarmPool::stop() {
  stopping_ = true;
  scope_.cancel();
  // Starting guests end first: each is either given up or lands among the ready ones.
  co_await scope_.join();
  while (!ready_.empty()) {
    dispose(std::move(ready_.front()));
    ready_.pop_front();
  }
  co_await scope_.join();
}

}  // namespace lambdo::engine
