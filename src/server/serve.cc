#include "server/serve.h"

#include <sys/resource.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "api/handlers.h"
#include "base/log.h"
#include "config/config.h"
#include "http/server/server.h"
#include "reactor/interrupt.h"
#include "reactor/operations.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "server/privileges.h"
#include "server/runtime.h"
#include "server/server_filter.h"

namespace lambdo::server {

namespace {

using reactor::Task;

constexpr int64_t kCleanUpTimeoutMs = 30'000;

/// Every connection and guest takes descriptors: as many as the administrator allows.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

http::ServerOptions server_options(const config::Config& config) {
  http::ServerOptions options;
  options.host = config.api.web_host;
  options.port = config.api.web_port;
  options.max_connections = config.http.max_connections;
  options.max_header_bytes = config.http.max_header_bytes;
  options.max_body_bytes = config.http.max_body_bytes;
  options.max_buffered_bytes = config.http.max_buffered_bytes;
  options.min_write_bytes_per_s = config.http.min_write_bytes_per_s;
  options.header_timeout_ms = static_cast<int64_t>(config.http.header_timeout_ms);
  options.body_timeout_ms = static_cast<int64_t>(config.http.body_timeout_ms);
  options.idle_timeout_ms = static_cast<int64_t>(config.http.idle_timeout_ms);
  options.write_timeout_ms = static_cast<int64_t>(config.http.write_timeout_ms);
  return options;
}

Task<Result<int>> next_signal(reactor::Reactor& reactor, int fd, reactor::CancelToken token) {
  signalfd_siginfo info{};
  const auto count =
      CO_TRY(co_await reactor::ReadOp(reactor, fd, std::as_writable_bytes(std::span(&info, 1)), token));
  if (count != sizeof info) co_return fail(Code::io, "signalfd: short read");
  co_return static_cast<int>(info.ssi_signo);
}

/// A second signal while draining: what still runs is given up at once.
Task<> hurry_on_signal(reactor::Reactor& reactor, int fd, http::Server& server, reactor::CancelToken token) {
  if (!co_await next_signal(reactor, fd, token)) co_return;
  log::warning("second signal: giving up the runs that are left");
  co_await server.stop(reactor.now_ns());
}

Task<> drain(reactor::Reactor& reactor, const config::Config& config, int signals, Runtime& runtime,
             http::Server& server) {
  runtime.runner().refuse_new_runs();
  reactor::Scope hurry(reactor);
  hurry.spawn(hurry_on_signal(reactor, signals, server, hurry.token()));
  co_await server.stop(reactor.now_ns() + static_cast<int64_t>(config.runner.drain_timeout_ms) * 1'000'000);
  hurry.cancel();
  co_await hurry.join();
}

/// Ends the wait for a signal when guests can be started no more, or can have no network: a supervisor should
/// start us anew.
Task<> watch_for(Task<Result<std::string>> broken, reactor::CancelSource& waiting, std::string& failure) {
  auto reason = co_await std::move(broken);
  if (!reason || !failure.empty()) co_return;
  failure = std::move(*reason);
  waiting.cancel();
}

/// Returns on SIGINT or SIGTERM; fails where the engine did.
Task<Result<>> wait_for_end(reactor::Reactor& reactor, uint64_t drain_timeout_ms, int signals,
                            Runtime& runtime) {
  reactor::CancelSource waiting;
  std::string failure;
  reactor::Scope watch(reactor);
  watch.spawn(watch_for(runtime.engine().failure(watch.token()), waiting, failure));
  if (net::GuestNetwork* network = runtime.network()) {
    watch.spawn(watch_for(network->failure(watch.token()), waiting, failure));
  }
  const auto signal = co_await next_signal(reactor, signals, waiting.token());
  watch.cancel();
  co_await watch.join();
  if (!failure.empty()) co_return fail(Code::engine_failed, failure);
  const size_t runs = runtime.runner().running() + runtime.runner().queued();
  if (runs == 0) {
    log::info("stopping", {{"signal", signal.value_or(0)}});
  } else {
    // Not only for information: whoever pressed ^C waits, and wants to know for what.
    log::warning("stopping: " + std::to_string(runs) + (runs == 1 ? " run" : " runs") +
                     " may end first; the signal again gives up what is left",
                 {{"signal", signal.value_or(0)}, {"drain_timeout_ms", drain_timeout_ms}});
  }
  co_return Result<>{};
}

Task<Result<>> serve_until_signal(reactor::Reactor& reactor, const config::Config& config, int signals,
                                  Runtime& runtime) {
  CO_TRY(co_await runtime.start());
  for (const std::string& warning : runtime.warnings()) log::warning(warning);
  api::Api api(reactor, runtime.runner(), runtime.warnings());
  http::Server server(reactor, api.router(), server_options(config));
  api.show(server);
  CO_TRY(server.listen());
  log::info("listening", {{"host", config.api.web_host},
                          {"port", server.port()},
                          {"engine", runtime.runner().engine().name()},
                          {"languages", config.languages.size()},
                          {"version", LAMBDO_VERSION}});
  reactor::Scope scope(reactor);
  scope.spawn(server.serve());
  const Result<> ended = co_await wait_for_end(reactor, config.runner.drain_timeout_ms, signals, runtime);
  co_await drain(reactor, config, signals, runtime, server);
  co_await scope.join();
  co_return ended;
}

/// Cleaning up waits for guests to be gone, and a process that hangs in the kernel never is; and for work on
/// images that does not look at its flag for long, as on a disk that hangs. The launcher goes on when we have
/// ended, and the next start removes what is left.
Task<> end_after_all(reactor::Reactor& reactor, reactor::CancelToken token) {
  if (!co_await reactor::SleepOp::for_ms(reactor, kCleanUpTimeoutMs, token)) co_return;
  log::error(
      "cleaning up takes too long, ending without: guests that hang in the kernel or work on images may be "
      "left; the next start removes them, and what still hangs then needs a look at the kernel's log",
      {{"waited_ms", kCleanUpTimeoutMs}});
  std::_Exit(EXIT_FAILURE);
}

Task<Result<>> serve_and_clean_up(reactor::Reactor& reactor, const config::Config& config, int signals,
                                  Runtime& runtime) {
  const Result<> served = co_await serve_until_signal(reactor, config, signals, runtime);
  reactor::Scope last_resort(reactor);
  last_resort.spawn(end_after_all(reactor, last_resort.token()));
  co_await runtime.stop();
  last_resort.cancel();
  co_await last_resort.join();
  co_return served;
}

}  // namespace

Result<> serve(const config::Config& config) {
  raise_descriptor_limit();
  const Fd signals = TRY(reactor::signal_descriptor());
  // Before the first thread: the launcher is forked here.
  auto helpers = start_helpers(config, signals.get());
  if (!helpers && helpers.error().code == Code::cancelled) {
    log::info("stopped while starting");
    return {};
  }
  if (!helpers) return std::unexpected(std::move(helpers).error());
  raise_priority();
  TRY(drop_privileges());
  auto reactor = TRY(reactor::Reactor::create());
  TRY(install_server_filter());
  Runtime runtime(*reactor, config, *std::move(helpers));
  TRY(reactor->run(serve_and_clean_up(*reactor, config, signals.get(), runtime)));
  log::info("stopped");
  return {};
}

}  // namespace lambdo::server
