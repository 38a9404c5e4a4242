#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

#include "base/error.h"
#include "engine/run_request.h"
#include "engine/runner.h"
#include "http/server/server.h"
#include "reactor/reactor.h"

namespace lambdo::api {

/// What GET /metrics shows, in the Prometheus text format. Counters are kept as runs end; gauges are read
/// when asked.
class Metrics {
 public:
  Metrics();

  void run_finished(const engine::RunReport& report);
  void run_failed(const Error& error);
  /// The text; takes the state of the runner, the loop and the server as it is now.
  std::string text(const engine::Runner& runner, const reactor::Reactor& reactor,
                   const http::ServerStatistics& server);

 private:
  void observe(const char* phase, const std::string& language, int64_t us);
  void update_traffic(const prometheus::Labels& labels, const net::TrafficCounters& traffic);
  void update_pools(const engine::Runner& runner);
  void update_reactor(const reactor::Reactor& reactor);
  void update_server(const http::ServerStatistics& server);

  prometheus::Registry registry_;
  prometheus::Family<prometheus::Histogram>& phases_;
  prometheus::Family<prometheus::Counter>& runs_;
  prometheus::Family<prometheus::Counter>& errors_;
  prometheus::Family<prometheus::Gauge>& pool_;
  prometheus::Family<prometheus::Gauge>& runner_;
  prometheus::Family<prometheus::Gauge>& reactor_;
  prometheus::Family<prometheus::Counter>& turns_;
  prometheus::Family<prometheus::Counter>& guest_cpu_;
  prometheus::Family<prometheus::Gauge>& guest_memory_;
  prometheus::Family<prometheus::Counter>& network_packets_;
  prometheus::Family<prometheus::Counter>& network_bytes_;
  prometheus::Family<prometheus::Counter>& network_dropped_;
  prometheus::Family<prometheus::Gauge>& connections_;
  prometheus::Family<prometheus::Gauge>& buffered_;
  prometheus::Family<prometheus::Counter>& accepted_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& http_errors_;
  prometheus::Family<prometheus::Counter>& http_bytes_;
};

}  // namespace lambdo::api
