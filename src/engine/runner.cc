#include "engine/runner.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "engine/run_network.h"
#include "lambdo.pb.h"
#include "reactor/timer.h"

namespace lambdo::engine {

// The agent ends a run at its deadline by itself and reports what there was; this long after, the host ends
// the guest.
static constexpr int64_t kDeadlineGraceMs = 50;
// Besides, files must reach the guest before its clock starts and output must come back after it has stopped.
static constexpr uint64_t kTransferBytesPerMs = 100'000;
static constexpr size_t kMaxDebugBytes = 4096;

struct Runner::Run {
  RunRequest request;
  std::string id;
  size_t language = 0;
  Limits limits;
  net::Policy network;
  int64_t received_ns = 0;
  RunTimings timings;
};

static int64_t to_us(int64_t ns) {
  return ns / 1000;
}

Runner::Runner(reactor::Reactor& reactor, Engine& engine, AgentGrpc& agents, net::GuestNetwork* network,
               const std::vector<Language>& languages, RunnerOptions options)
    : reactor_(reactor),
      engine_(engine),
      languages_(languages),
      options_(options),
      slots_(reactor, options.starting_guests),
      network_(network),
      place_freed_(reactor),
      all_ended_(reactor) {
  for (size_t i = 0; i < languages.size(); ++i) {
    pools_.push_back(make_pools(agents, i));
    states_.push_back(
        {.phase = languages[i].image.empty() ? LanguageState::Phase::ready : LanguageState::Phase::waiting});
  }
  // Ids are unique over restarts: a random part, then a counter.
  CHECK(::getrandom(&id_prefix_, sizeof id_prefix_, 0) == sizeof id_prefix_);
}

static bool has_access(const net::Policy& policy) {
  return policy.access != net::Policy::Access::none;
}

/// Whether a guest needs a network for a run with this policy: to reach something, or to be reached at all.
static bool needs_network(const Language& language, const net::Policy& policy) {
  return language.has_own_init || has_access(policy);
}

Runner::Pools Runner::make_pools(AgentGrpc& agents, size_t index) {
  const Language& language = languages_[index];
  const bool networked = needs_network(language, language.network);
  const auto pool = [&](size_t target, std::optional<net::Policy> policy) {
    return std::make_unique<WarmPool>(
        reactor_, engine_, agents, slots_, network_,
        WarmPool::Options{index, language.name, target, options_.start_timeout_ms, std::move(policy)});
  };
  const std::optional<net::Policy> usual = networked ? std::optional(language.network) : std::nullopt;
  Pools pools{.usual = pool(language.warm, usual), .other = nullptr};
  // Closed until a run says what it may reach.
  const std::optional<net::Policy> other = networked ? std::nullopt : std::optional(net::Policy());
  if (network_ != nullptr) pools.other = pool(0, other);
  return pools;
}

WarmPool& Runner::pool_for(const Run& run) const {
  const Pools& pools = pools_[run.language];
  const Language& language = languages_[run.language];
  const bool usual = needs_network(language, run.network) == needs_network(language, language.network);
  CHECK(usual || pools.other);
  return usual ? *pools.usual : *pools.other;
}

Runner::~Runner() {
  CHECK(inside_ == 0);
}

void Runner::start() {
  started_ = true;
  for (size_t i = 0; i < pools_.size(); ++i) {
    if (states_[i].phase == LanguageState::Phase::ready) pools_[i].usual->refill();
  }
}

void Runner::set_state(size_t language, LanguageState state) {
  LanguageState& now = states_.at(language);
  CHECK(now.phase != LanguageState::Phase::ready);
  now = std::move(state);
  if (now.phase == LanguageState::Phase::ready && started_ && !draining_) pools_[language].usual->refill();
}

Result<> Runner::check_ready(size_t language) const {
  const LanguageState& state = states_[language];
  if (state.phase == LanguageState::Phase::ready) return {};
  return fail(Code::unavailable, "language " + languages_[language].name +
                                     " is not ready yet: " + state.sentence() + "; try again later");
}

std::string Runner::next_id() {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%08x-%06llx", static_cast<unsigned>(id_prefix_),
                static_cast<unsigned long long>(++id_counter_));
  return text.data();
}

reactor::Task<Result<RunReport>> Runner::run(RunRequest request, reactor::CancelToken token) {
  Run run{.request = std::move(request),
          .id = next_id(),
          .limits = {},
          .received_ns = reactor_.now_ns(),
          .timings = {}};
  CO_TRY(validate(run.request));
  run.language = CO_TRY(find_language(languages_, run.request));
  run.limits = CO_TRY(effective_limits(languages_[run.language], run.request.limits, options_.max_limits));
  run.network =
      CO_TRY(effective_network(languages_[run.language], run.request.network, options_.max_network));
  CO_TRY(check_ready(run.language));
  CO_TRY(engine_.check_limits(run.language, run.limits));
  ++inside_;
  Result<> admitted = co_await admit(run, token);
  Result<RunReport> report = std::unexpected(Error{});
  if (admitted) {
    report = co_await run_admitted(run, token);
    release_place();
  } else {
    report = std::unexpected(std::move(admitted).error());
  }
  if (--inside_ == 0) all_ended_.notify_all();
  const std::string& language = languages_[run.language].name;
  if (report) {
    report->timings.total_us = to_us(reactor_.now_ns() - run.received_ns);
    log::info("run finished", {{"run", run.id},
                               {"language", language},
                               {"status", report->status},
                               {"queue_us", report->timings.queue_us},
                               {"acquire_us", report->timings.acquire_us},
                               {"execute_us", report->timings.execute_us},
                               {"total_us", report->timings.total_us}});
  } else {
    log::warning("run failed", {{"run", run.id},
                                {"language", language},
                                {"code", code_name(report.error().code)},
                                {"error", report.error().message}});
  }
  co_return report;
}

reactor::Task<Result<>> Runner::admit(Run& run, reactor::CancelToken token) {
  if (draining_) co_return fail(Code::shutting_down, "the server is shutting down");
  if (running_ >= options_.max_running) {
    if (queued_ >= options_.queue_length) {
      co_return fail(Code::overloaded,
                     "all " + std::to_string(options_.max_running) + " places and the queue of " +
                         std::to_string(options_.queue_length) + " are taken; try again later");
    }
    reactor::Deadline deadline(reactor_, run.received_ns + options_.queue_timeout_ms * 1'000'000, token);
    ++queued_;
    // release_place() hands its place over, so whoever is woken has one.
    const Result<> woken = co_await place_freed_.wait(deadline.token());
    --queued_;
    if (!woken && deadline.passed()) {
      co_return fail(Code::overloaded, "no place became free within " +
                                           std::to_string(options_.queue_timeout_ms) +
                                           " ms; try again later");
    }
    if (!woken) co_return woken;
  } else {
    ++running_;
  }
  run.timings.queue_us = to_us(reactor_.now_ns() - run.received_ns);
  co_return Result<>{};
}

void Runner::release_place() {
  if (place_freed_.has_waiters()) {
    place_freed_.notify_one();
  } else {
    --running_;
  }
}

reactor::Task<Result<RunReport>> Runner::run_admitted(Run& run, reactor::CancelToken token) {
  WarmPool& pool = pool_for(run);
  const Language& language = languages_[run.language];
  const int64_t acquire_start_ns = reactor_.now_ns();
  reactor::Deadline deadline(reactor_, acquire_start_ns + options_.start_timeout_ms * 1'000'000, token);
  auto acquired = co_await pool.acquire(deadline.token());
  if (!acquired && deadline.passed()) {
    co_return fail(Code::engine_failed,
                   "no guest became ready within " + std::to_string(options_.start_timeout_ms) + " ms");
  }
  ReadyGuest guest = CO_TRY(std::move(acquired));
  deadline.clear();
  run.timings.acquire_us = to_us(reactor_.now_ns() - acquire_start_ns);
  Result<RunReport> report = co_await execute(run, guest, token);
  pool.dispose(std::move(guest));
  pool.refill();
  if (!report) co_return report;
  report->id = run.id;
  report->engine = engine_.name();
  report->language = language.name;
  report->version = language.version;
  report->timings = run.timings;
  for (size_t i = 0; i < report->steps.size(); ++i) {
    if (!language.steps[i].output_debug) continue;
    log::info("step output", {{"run", run.id},
                              {"step", i},
                              {"stdout", report->steps[i].standard_output.substr(0, kMaxDebugBytes)},
                              {"stderr", report->steps[i].standard_error.substr(0, kMaxDebugBytes)}});
  }
  co_return report;
}

/// What this run has otherwise than its language.
reactor::Task<Result<>> Runner::prepare_guest(const Run& run, ReadyGuest& guest) {
  const Limits& usual = languages_[run.language].limits;
  Result<> prepared;
  if (run.limits.memory_mb != usual.memory_mb || run.limits.processes != usual.processes) {
    prepared = co_await guest.guest->apply_limits(run.limits);
  }
  if (prepared && !guest.port.empty() && run.network != guest.reaches) {
    prepared = co_await network_->set_policy(guest.port, run.network);
  }
  if (!prepared) co_return std::unexpected(std::move(prepared).error().with_code(Code::engine_failed));
  co_return Result<>{};
}

reactor::Task<Result<RunReport>> Runner::execute(Run& run, ReadyGuest& guest, reactor::CancelToken token) {
  CO_TRY(co_await prepare_guest(run, guest));
  const Language& language = languages_[run.language];
  const auto request = build_execute_request(run.request, language, run.limits, run.id);
  const int64_t start_ns = reactor_.now_ns();
  const uint64_t transfer_bytes =
      request.ByteSizeLong() + 2 * run.limits.output_bytes * language.steps.size();
  const auto allowed_ms =
      static_cast<int64_t>(run.limits.wall_ms + transfer_bytes / kTransferBytesPerMs) + kDeadlineGraceMs;
  reactor::Deadline deadline(reactor_, start_ns + allowed_ms * 1'000'000, token);
  auto response = co_await guest.agent->execute(request, deadline.token());
  run.timings.execute_us = to_us(reactor_.now_ns() - start_ns);
  if (!response) {
    if (deadline.passed()) co_return timeout_report(request, run.limits);
    if (response.error().code == Code::agent_lost) {
      co_return co_await explain_lost_agent(request, guest, std::move(response).error());
    }
    if (response.error().code == Code::resource_exhausted) {
      const Code code = may_fill_disk(request, run.limits) ? Code::payload_too_large : Code::agent_protocol;
      co_return std::unexpected(std::move(response).error().with_code(code));
    }
    co_return std::unexpected(std::move(response).error());
  }
  auto report = CO_TRY(read_execute_response(std::move(*response), request, run.limits));
  StepReport& last = report.steps.back();
  if (last.exit_code != 0 && !last.timed_out) {
    // The kernel counts for the guest: a kill that an earlier step survived is told with the step that
    // failed.
    const auto usage = co_await guest.guest->usage();
    last.oom_killed = last.oom_killed || (usage && usage->oom_kills > 0);
  }
  co_return report;
}

reactor::Task<Result<RunReport>> Runner::explain_lost_agent(const grpc_definitions::ExecuteRequest& request,
                                                            ReadyGuest& guest, Error error) {
  const auto usage = co_await guest.guest->usage();
  if (!usage || usage->oom_kills == 0) {
    if (auto end = co_await guest.guest->reason_of_end()) error = *std::move(end);
    co_return std::unexpected(std::move(error).with_context("the guest ended before its program did"));
  }
  // The kernel took the agent along when memory ran out: the program's end is known all the same.
  RunReport report = killed_report(request);
  report.steps.back().oom_killed = true;
  co_return report;
}

void Runner::refuse_new_runs() {
  draining_ = true;
}

reactor::Task<> Runner::stop() {
  draining_ = true;
  while (inside_ > 0) (void)co_await all_ended_.wait();
  for (Pools& pools : pools_) {
    co_await pools.usual->stop();
    if (pools.other) co_await pools.other->stop();
  }
}

static void add(PoolStatus& status, const WarmPool& pool) {
  status.ready += pool.ready();
  status.starting += pool.starting();
  status.target += pool.target();
  status.started_total += pool.started_total();
  status.failed_total += pool.failed_total();
  status.cpu_us_total += pool.cpu_us_total();
  status.traffic += pool.traffic_total();
  status.memory_peak_bytes = std::max(status.memory_peak_bytes, pool.memory_peak_bytes());
}

std::vector<PoolStatus> Runner::pools() const {
  std::vector<PoolStatus> status;
  for (size_t i = 0; i < pools_.size(); ++i) {
    const Language& language = languages_[i];
    PoolStatus both{.language = language.name, .version = language.version};
    add(both, *pools_[i].usual);
    if (pools_[i].other) add(both, *pools_[i].other);
    status.push_back(std::move(both));
  }
  return status;
}

}  // namespace lambdo::engine
