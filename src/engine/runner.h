#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/agent_client.h"
#include "engine/engine.h"
#include "engine/run_request.h"
#include "engine/warm_pool.h"
#include "net/guest_network.h"
#include "reactor/event.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::engine {

/// What has no default is the configuration's.
struct RunnerOptions {
  size_t max_running;        ///< runs that hold a guest at one time
  size_t queue_length;       ///< runs that wait for one of those places
  int64_t queue_timeout_ms;  ///< how long one waits there
  int64_t start_timeout_ms = 30'000;
  size_t starting_guests;  ///< of one language at one time, and one more over all languages
  Limits max_limits;
  /// The most that a request may ask for by itself.
  net::Policy::Access max_network = net::Policy::Access::none;
};

/// Numbers of one language's pool at this moment.
struct PoolStatus {
  std::string language;
  std::string version;
  size_t ready = 0;
  size_t starting = 0;
  size_t target = 0;
  uint64_t started_total = 0;
  uint64_t failed_total = 0;
  uint64_t cpu_us_total = 0;       ///< of guests that have been destroyed
  uint64_t memory_peak_bytes = 0;  ///< the most that one of them held
  net::TrafficCounters traffic;    ///< of those with a network
};

/// Takes runs from request to report: admission, a guest, execution under a deadline, and the guest's end.
///
///   queued -> leased -> executing -> reported -> done
///
/// `run` returns at `reported`; the guest is destroyed in the background.
class Runner {
 public:
  /// All references outlive the runner, and so does `network`: nullptr where no guest can have one, which is
  /// where all languages have none and requests may not ask for any.
  Runner(reactor::Reactor& reactor, Engine& engine, AgentGrpc& agents, net::GuestNetwork* network,
         const std::vector<Language>& languages, RunnerOptions options);
  ~Runner();

  /// Starts filling the warm pools of the languages that are ready. Those with an image are not, until
  /// `set_state` says so.
  void start();
  /// How far a language is. Once it is ready it stays so.
  void set_state(size_t language, LanguageState state);
  [[nodiscard]] const LanguageState& state(size_t language) const { return states_.at(language); }
  /// Runs one program. `token` cancelled means that nobody wants the result any more: the guest is killed at
  /// once. Errors: invalid_argument, not_found (language); unavailable (a language that is not ready yet);
  /// overloaded (all places are taken and the queue is full, or queue_timeout_ms passed), shutting_down;
  /// engine_failed, guest_boot_timeout, guest_panic, guest_ended; resource_exhausted (no address is free);
  /// agent_lost, agent_protocol, payload_too_large; cancelled.
  reactor::Task<Result<RunReport>> run(RunRequest request, reactor::CancelToken token);
  /// Takes no more runs; those that have been taken go on.
  void refuse_new_runs();
  /// Waits for the runs that have been taken (cancel their tokens to end them early), then leaves no guest.
  reactor::Task<> stop();

  [[nodiscard]] size_t running() const { return running_; }
  [[nodiscard]] size_t queued() const { return queued_; }
  [[nodiscard]] bool draining() const { return draining_; }
  [[nodiscard]] std::vector<PoolStatus> pools() const;
  [[nodiscard]] const std::vector<Language>& languages() const { return languages_; }
  [[nodiscard]] const Engine& engine() const { return engine_; }
  [[nodiscard]] const RunnerOptions& options() const { return options_; }

 private:
  struct Run;
  /// A guest has a network from its start, or has not: the other kind than its language's guests starts when
  /// somebody asks for it.
  struct Pools {
    std::unique_ptr<WarmPool> usual;
    std::unique_ptr<WarmPool> other;  ///< none where no guest can have a network
  };
  [[nodiscard]] Result<> check_ready(size_t language) const;
  reactor::Task<Result<>> admit(Run& run, reactor::CancelToken token);
  void release_place();
  reactor::Task<Result<RunReport>> execute(Run& run, ReadyGuest& guest, reactor::CancelToken token);
  reactor::Task<Result<RunReport>> explain_lost_agent(const grpc_definitions::ExecuteRequest& request,
                                                      ReadyGuest& guest, Error error);
  reactor::Task<Result<RunReport>> run_admitted(Run& run, reactor::CancelToken token);
  [[nodiscard]] Pools make_pools(AgentGrpc& agents, size_t index);
  [[nodiscard]] WarmPool& pool_for(const Run& run) const;
  reactor::Task<Result<>> prepare_guest(const Run& run, ReadyGuest& guest);
  std::string next_id();

  reactor::Reactor& reactor_;
  Engine& engine_;
  const std::vector<Language>& languages_;
  RunnerOptions options_;
  StartSlots slots_;
  net::GuestNetwork* network_;
  std::vector<Pools> pools_;
  std::vector<LanguageState> states_;
  bool started_ = false;
  reactor::Event place_freed_;
  reactor::Event all_ended_;
  size_t running_ = 0;
  size_t queued_ = 0;
  size_t inside_ = 0;  // coroutines in `run`
  uint64_t id_prefix_ = 0;
  uint64_t id_counter_ = 0;
  bool draining_ = false;
};

}  // namespace lambdo::engine
