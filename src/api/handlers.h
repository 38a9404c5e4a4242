#pragma once

#include <string>
#include <vector>

#include "api/metrics.h"
#include "base/json.h"
#include "engine/runner.h"
#include "http/server/router.h"
#include "http/server/server.h"
#include "reactor/reactor.h"

namespace lambdo::api {

/// The routes of the HTTP API (docs/api.md). Outlives the server that uses its router.
class Api {
 public:
  /// All references outlive the API. `warnings` is what /health shows.
  Api(reactor::Reactor& reactor, engine::Runner& runner, std::vector<std::string> warnings);

  [[nodiscard]] const http::Router& router() const { return router_; }
  /// Whose numbers /metrics shows beside the runner's. Before the first request; outlives the last.
  void show(const http::Server& server) { server_ = &server; }

 private:
  reactor::Task<http::Response> run(http::Request& request, reactor::CancelToken client_gone);
  reactor::Task<http::Response> languages();
  reactor::Task<http::Response> health();
  reactor::Task<http::Response> metrics();
  void write_language_states(JsonWriter& json) const;

  reactor::Reactor& reactor_;
  engine::Runner& runner_;
  std::vector<std::string> warnings_;
  const http::Server* server_ = nullptr;
  Metrics metrics_;
  http::Router router_;
};

}  // namespace lambdo::api
