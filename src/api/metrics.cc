#include "api/metrics.h"

#include <prometheus/text_serializer.h>

namespace lambdo::api {

// From a warm bash (about 1 ms) to the longest run that a configuration usually allows.
static const prometheus::Histogram::BucketBoundaries kSecondsBuckets = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

Metrics::Metrics()
    : phases_(prometheus::BuildHistogram()
                  .Name("lambdo_run_phase_seconds")
                  .Help("Time of a run's phases: queue, acquire, execute, total")
                  .Register(registry_)),
      runs_(prometheus::BuildCounter()
                .Name("lambdo_runs_total")
                .Help("Runs that gave a report, by language and outcome: ok, failed, timeout")
                .Register(registry_)),
      errors_(prometheus::BuildCounter()
                  .Name("lambdo_run_errors_total")
                  .Help("Runs that gave no report, by error code")
                  .Register(registry_)),
      pool_(prometheus::BuildGauge()
                .Name("lambdo_pool_guests")
                .Help("Guests of the warm pools, by language and state: ready, starting, target")
                .Register(registry_)),
      runner_(
          prometheus::BuildGauge().Name("lambdo_runs").Help("Runs now: running, queued").Register(registry_)),
      reactor_(prometheus::BuildGauge()
                   .Name("lambdo_reactor_turn_microseconds")
                   .Help("Longest and mean turn of the event loop since the start")
                   .Register(registry_)) {}

void Metrics::observe(const char* phase, const std::string& language, int64_t us) {
  phases_.Add({{"phase", phase}, {"language", language}}, kSecondsBuckets)
      .Observe(static_cast<double>(us) / 1e6);
}

void Metrics::run_finished(const engine::RunReport& report) {
  const bool timed_out = !report.steps.empty() && report.steps.back().timed_out;
  const char* outcome = timed_out ? "timeout" : report.status == 0 ? "ok" : "failed";
  runs_.Add({{"language", report.language}, {"outcome", outcome}}).Increment();
  observe("queue", report.language, report.timings.queue_us);
  observe("acquire", report.language, report.timings.acquire_us);
  observe("execute", report.language, report.timings.execute_us);
  observe("total", report.language, report.timings.total_us);
}

void Metrics::run_failed(const Error& error) {
  errors_.Add({{"code", std::string(code_name(error.code))}}).Increment();
}

void Metrics::update_gauges(const engine::Runner& runner, const reactor::Reactor& reactor) {
  for (const engine::PoolStatus& pool : runner.pools()) {
    const auto set = [&](const char* state, size_t count) {
      pool_.Add({{"language", pool.language}, {"version", pool.version}, {"state", state}})
          .Set(static_cast<double>(count));
    };
    set("ready", pool.ready);
    set("starting", pool.starting);
    set("target", pool.target);
  }
  runner_.Add({{"state", "running"}}).Set(static_cast<double>(runner.running()));
  runner_.Add({{"state", "queued"}}).Set(static_cast<double>(runner.queued()));
  const reactor::TurnStatistics& turns = reactor.statistics();
  const auto count = static_cast<double>(turns.turns == 0 ? 1 : turns.turns);
  reactor_.Add({{"statistic", "longest"}}).Set(static_cast<double>(turns.longest_ns) / 1e3);
  reactor_.Add({{"statistic", "mean"}}).Set(static_cast<double>(turns.total_ns) / 1e3 / count);
}

std::string Metrics::text(const engine::Runner& runner, const reactor::Reactor& reactor) {
  update_gauges(runner, reactor);
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace lambdo::api
