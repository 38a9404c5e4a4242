#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "http/server/server.h"
#include "reactor/reactor.h"

namespace lambdo::http {

/// A server with routes for tests, on a reactor and a thread of its own.
///
///   GET /health            "ok"
///   GET, POST /echo        method, path, ?query and body
///   GET /wait              never, unless the client goes or the server stops
///   GET /gate              once the gate is open
///   GET /big               16 MiB of x
///   GET /stream            three pieces
///   GET /broken            one piece, then an error
///   GET /endless           pieces until the client is gone, said to hold 1 MiB
class TestServer {
 public:
  explicit TestServer(ServerOptions options = {}, reactor::ReactorOptions reactor_options = {});
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer();

  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] ServerStatistics statistics();
  [[nodiscard]] uint64_t turns();
  void open_gate();
  /// Starts Server::stop with so much time; `join` waits for its end.
  void begin_stop(int64_t grace_ms);
  void join();

  std::atomic<int> running = 0;    ///< handlers of /wait, /gate and streams
  std::atomic<int> cancelled = 0;  ///< of those: told that the client has gone
  std::atomic<Code> stream_error = Code::internal;

 private:
  void run(ServerOptions options, reactor::ReactorOptions reactor_options, std::promise<uint16_t> ready);
  template <typename Answer>
  Answer ask(std::move_only_function<Answer()> question);
  Task<> serve();
  Task<> stop_when_told();
  Task<Response> wait(CancelToken client_gone);
  Task<Response> pass_gate(CancelToken client_gone);
  Task<Result<>> stream_endlessly(BodyWriter& writer, CancelToken client_gone);
  void add_routes();

  uint16_t port_ = 0;
  Router router_;
  // What follows belongs to the server's thread.
  std::unique_ptr<reactor::Reactor> reactor_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<reactor::Event> gate_;
  std::unique_ptr<reactor::Event> stop_wanted_;
  int64_t grace_ms_ = 0;
  std::thread thread_;
};

/// Waits up to ten seconds for a condition that another thread brings about.
template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return condition();
}

}  // namespace lambdo::http
