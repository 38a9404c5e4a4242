#include "api/metrics.h"

#include <prometheus/text_serializer.h>

namespace lambdo::api {

// From a warm bash (about 1 ms) to the longest run that a configuration usually allows.
static const prometheus::Histogram::BucketBoundaries kSecondsBuckets = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

static prometheus::Family<prometheus::Counter>& counter(prometheus::Registry& registry, const char* name,
                                                        const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

static prometheus::Family<prometheus::Gauge>& gauge(prometheus::Registry& registry, const char* name,
                                                    const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

Metrics::Metrics()
    : phases_(prometheus::BuildHistogram()
                  .Name("lambdo_run_phase_seconds")
                  .Help("Time of a run's phases: queue, acquire, execute, total")
                  .Register(registry_)),
      runs_(counter(registry_, "lambdo_runs_total",
                    "Runs that gave a report, by language and outcome: ok, failed, timeout")),
      errors_(counter(registry_, "lambdo_run_errors_total", "Runs that gave no report, by error code")),
      pool_(gauge(registry_, "lambdo_pool_guests",
                  "Guests of the warm pools, by language and state: ready, starting, target")),
      runner_(gauge(registry_, "lambdo_runs", "Runs now: running, queued")),
      reactor_(gauge(registry_, "lambdo_reactor_turn_microseconds",
                     "Longest and mean turn of the event loop since the start")),
      turns_(counter(registry_, "lambdo_reactor_turns_total",
                     "Turns of the event loop that took at most so many microseconds")),
      guest_cpu_(counter(registry_, "lambdo_guest_cpu_seconds_total",
                         "Processor time of the guests that have been destroyed, by language")),
      guest_memory_(gauge(registry_, "lambdo_guest_memory_peak_bytes",
                          "The most memory that one guest held since the start, by language")),
      network_packets_(counter(registry_, "lambdo_guest_network_packets_total",
                               "IP packets of the guests that have been destroyed, by language and "
                               "direction: sent (refused ones too), received")),
      network_bytes_(counter(registry_, "lambdo_guest_network_bytes_total",
                             "Bytes of these packets, by language and direction: sent, received")),
      network_dropped_(counter(registry_, "lambdo_guest_network_dropped_packets_total",
                               "Packets of these guests that went nowhere, by language and reason: spoofed "
                               "(not the guest's to send), refused (by policy or host)")),
      connections_(gauge(registry_, "lambdo_http_connections", "Connections that are open now")),
      buffered_(gauge(registry_, "lambdo_http_buffered_bytes",
                      "Bodies of requests and large responses that are held now")),
      accepted_(counter(registry_, "lambdo_http_connections_total", "Connections: served, refused")),
      requests_(counter(registry_, "lambdo_http_requests_total", "Requests that were read in full")),
      http_errors_(counter(registry_, "lambdo_http_errors_total",
                           "Requests and responses given up, by reason: malformed, timeout, over_budget")),
      http_bytes_(counter(registry_, "lambdo_http_bytes_total", "Bytes: in, out")) {}

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

/// A counter that is kept elsewhere.
static void advance(prometheus::Counter& counter, double total) {
  counter.Increment(total - counter.Value());
}

void Metrics::update_traffic(const prometheus::Labels& labels, const net::TrafficCounters& traffic) {
  const auto set = [&](prometheus::Family<prometheus::Counter>& family, const char* name, const char* value,
                       uint64_t count) {
    prometheus::Labels more = labels;
    more.emplace(name, value);
    advance(family.Add(more), static_cast<double>(count));
  };
  set(network_packets_, "direction", "sent", traffic.sent_packets);
  set(network_packets_, "direction", "received", traffic.received_packets);
  set(network_bytes_, "direction", "sent", traffic.sent_bytes);
  set(network_bytes_, "direction", "received", traffic.received_bytes);
  set(network_dropped_, "reason", "spoofed", traffic.spoofed_packets);
  set(network_dropped_, "reason", "refused", traffic.refused_packets);
}

void Metrics::update_pools(const engine::Runner& runner) {
  for (const engine::PoolStatus& pool : runner.pools()) {
    const prometheus::Labels labels = {{"language", pool.language}, {"version", pool.version}};
    const auto set = [&](const char* state, size_t count) {
      prometheus::Labels with_state = labels;
      with_state.emplace("state", state);
      pool_.Add(with_state).Set(static_cast<double>(count));
    };
    set("ready", pool.ready);
    set("starting", pool.starting);
    set("target", pool.target);
    advance(guest_cpu_.Add(labels), static_cast<double>(pool.cpu_us_total) / 1e6);
    guest_memory_.Add(labels).Set(static_cast<double>(pool.memory_peak_bytes));
    update_traffic(labels, pool.traffic);
  }
  runner_.Add({{"state", "running"}}).Set(static_cast<double>(runner.running()));
  runner_.Add({{"state", "queued"}}).Set(static_cast<double>(runner.queued()));
}

void Metrics::update_reactor(const reactor::Reactor& reactor) {
  const reactor::TurnStatistics& turns = reactor.statistics();
  const auto count = static_cast<double>(turns.turns == 0 ? 1 : turns.turns);
  reactor_.Add({{"statistic", "longest"}}).Set(static_cast<double>(turns.longest_ns) / 1e3);
  reactor_.Add({{"statistic", "mean"}}).Set(static_cast<double>(turns.total_ns) / 1e3 / count);
  uint64_t so_far = 0;
  for (size_t i = 0; i < turns.buckets.size(); ++i) {
    so_far += turns.buckets[i];
    const bool is_last = i == turns.kBoundsUs.size();
    advance(turns_.Add({{"le", is_last ? "+Inf" : std::to_string(turns.kBoundsUs[i])}}),
            static_cast<double>(so_far));
  }
}

void Metrics::update_server(const http::ServerStatistics& server) {
  const auto total = [](prometheus::Family<prometheus::Counter>& family, const char* label, const char* value,
                        uint64_t count) {
    advance(family.Add({{label, value}}), static_cast<double>(count));
  };
  connections_.Add({}).Set(static_cast<double>(server.connections_open));
  buffered_.Add({}).Set(static_cast<double>(server.buffered_bytes));
  total(accepted_, "outcome", "served", server.connections_accepted - server.connections_refused);
  total(accepted_, "outcome", "refused", server.connections_refused);
  advance(requests_.Add({}), static_cast<double>(server.requests));
  total(http_errors_, "reason", "malformed", server.parse_errors);
  total(http_errors_, "reason", "timeout", server.timeouts);
  total(http_errors_, "reason", "over_budget", server.over_budget);
  total(http_bytes_, "direction", "in", server.bytes_in);
  total(http_bytes_, "direction", "out", server.bytes_out);
}

std::string Metrics::text(const engine::Runner& runner, const reactor::Reactor& reactor,
                          const http::ServerStatistics& server) {
  update_pools(runner);
  update_reactor(reactor);
  update_server(server);
  return prometheus::TextSerializer().Serialize(registry_.Collect());
}

}  // namespace lambdo::api
