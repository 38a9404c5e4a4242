#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "engine/agent_client.h"
#include "engine/engine.h"
#include "net/guest_network.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/scope.h"

namespace lambdo::engine {

/// A guest whose agent has answered: it can run a program now.
struct ReadyGuest {
  std::unique_ptr<Guest> guest;
  std::unique_ptr<AgentConnection> agent;
  std::string port;     ///< net::GuestNetwork's name of a guest with a network; empty: it has none
  net::Policy reaches;  ///< what it may, with one
};

/// How many guests may be starting at one time, over all languages: starting is CPU work, and more at once
/// only makes each slower. One language gets `per_pool` of them at most, and one is left for another: guests
/// that hang at their start must not keep other languages waiting.
struct StartSlots {
  StartSlots(reactor::Reactor& reactor, size_t most_of_one_pool)
      : per_pool(most_of_one_pool), free(most_of_one_pool + 1), freed(reactor) {}
  size_t per_pool;
  size_t free;
  reactor::Event freed;
};

/// The ready guests of one language. Guests are only ever started in the background; a caller takes a ready
/// one or waits, first come first served, for the next.
class WarmPool {
 public:
  struct Options {
    size_t language;                     ///< index for Engine::create_guest
    std::string name;                    ///< for logs
    size_t target;                       ///< ready guests to keep; 0: start one when asked
    int64_t start_timeout_ms;            ///< from the start of a guest to its agent's first word
    std::optional<net::Policy> network;  ///< guests are attached with it; none: they have no network
  };

  /// All references outlive the pool, and `network` does, which is there where options.network is.
  WarmPool(reactor::Reactor& reactor, Engine& engine, AgentGrpc& agents, StartSlots& slots,
           net::GuestNetwork* network, Options options);

  /// A guest for one run. Errors: why it could not be started; cancelled with the token.
  reactor::Task<Result<ReadyGuest>> acquire(reactor::CancelToken token);
  /// Starts guests until the target is met. Called once at the beginning and when a run has ended.
  void refill();
  /// Destroys a used or unused guest in the background.
  void dispose(ReadyGuest used);
  /// Starts no more guests and destroys those that there are. Nobody may be in `acquire`.
  reactor::Task<> stop();

  [[nodiscard]] size_t ready() const { return ready_.size(); }
  [[nodiscard]] size_t starting() const { return starting_; }
  [[nodiscard]] size_t target() const { return options_.target; }
  [[nodiscard]] uint64_t started_total() const { return started_total_; }
  [[nodiscard]] uint64_t failed_total() const { return failed_total_; }
  /// Processor time of all guests that have been destroyed.
  [[nodiscard]] uint64_t cpu_us_total() const { return cpu_us_total_; }
  /// What all guests with a network that have been destroyed sent and got.
  [[nodiscard]] const net::TrafficCounters& traffic_total() const { return traffic_total_; }
  /// The most that any of them held.
  [[nodiscard]] uint64_t memory_peak_bytes() const { return memory_peak_bytes_; }

 private:
  reactor::Task<> start_one();
  [[nodiscard]] bool may_start() const { return slots_.free > 0 && slots_held_ < slots_.per_pool; }
  reactor::Task<Result<ReadyGuest>> start_guest();
  reactor::Task<Result<>> create(ReadyGuest& started);
  reactor::Task<> destroy(ReadyGuest used);
  reactor::Task<> detach(std::string port);
  void note_failure(const Error& error);
  void drop_dead();
  void forget_untold_failures();

  reactor::Reactor& reactor_;
  Engine& engine_;
  AgentGrpc& agents_;
  StartSlots& slots_;
  net::GuestNetwork* network_;
  Options options_;
  std::deque<ReadyGuest> ready_;
  std::deque<Error> failures_;  // for those who wait: each failed start is told to one
  reactor::Event changed_;
  size_t waiting_ = 0;
  size_t starting_ = 0;
  size_t slots_held_ = 0;
  int64_t retry_delay_ms_ = 0;  // grows with failures in a row
  int64_t next_start_ns_ = 0;   // not before
  uint64_t started_total_ = 0;
  uint64_t failed_total_ = 0;
  uint64_t cpu_us_total_ = 0;
  uint64_t memory_peak_bytes_ = 0;
  net::TrafficCounters traffic_total_;
  bool stopping_ = false;
  reactor::Scope scope_;
};

}  // namespace lambdo::engine
