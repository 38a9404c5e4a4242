#include "test_server.h"

#include <utility>

#include "base/check.h"
#include "reactor/scope.h"
#include "reactor/timer.h"

namespace lambdo::http {

static Response text_response(std::string body) {
  Response response;
  response.content_type = "text/plain";
  response.body = std::move(body);
  return response;
}

static Task<Response> answer_health(Request&, CancelToken) {
  co_return text_response("ok");
}

static Task<Response> answer_echo(Request& request, CancelToken) {
  co_return text_response(std::string(method_name(request.method)) + " " + request.path + "?" +
                          request.query + " " + request.body);
}

static Task<Response> answer_big(Request&, CancelToken) {
  co_return text_response(std::string(16 << 20, 'x'));
}

static Task<Result<>> stream_pieces(BodyWriter& writer, CancelToken) {
  for (const char* piece : {"one", "", "two", "three"}) CO_TRY(co_await writer.write(piece));
  co_return Result<>{};
}

static Task<Result<>> stream_and_break(BodyWriter& writer, CancelToken) {
  CO_TRY(co_await writer.write("one"));
  co_return fail(Code::internal, "broken");
}

static Task<Response> answer_stream(Request&, CancelToken) {
  Response response = text_response("");
  response.stream = stream_pieces;
  co_return response;
}

static Task<Response> answer_broken(Request&, CancelToken) {
  Response response = text_response("");
  response.stream = stream_and_break;
  co_return response;
}

static Task<Response> give(Response response) {
  co_return response;
}

TestServer::TestServer(ServerOptions options, reactor::ReactorOptions reactor_options) {
  options.port = 0;
  add_routes();
  std::promise<uint16_t> ready;
  auto port = ready.get_future();
  thread_ = std::thread(&TestServer::run, this, std::move(options), reactor_options, std::move(ready));
  port_ = port.get();
}

TestServer::~TestServer() {
  if (!thread_.joinable()) return;
  begin_stop(0);
  join();
}

void TestServer::add_routes() {
  router_.add(Method::get, "/health", answer_health);
  router_.add(Method::get, "/echo", answer_echo);
  router_.add(Method::post, "/echo", answer_echo);
  router_.add(Method::get, "/big", answer_big);
  router_.add(Method::get, "/stream", answer_stream);
  router_.add(Method::get, "/broken", answer_broken);
  router_.add(Method::get, "/wait", [this](Request&, CancelToken token) { return wait(token); });
  router_.add(Method::get, "/gate", [this](Request&, CancelToken token) { return pass_gate(token); });
  router_.add(Method::get, "/endless", [this](Request&, CancelToken) {
    Response response = text_response("");
    response.stream = [this](BodyWriter& writer, CancelToken token) {
      return stream_endlessly(writer, token);
    };
    response.stream_held_bytes = 1 << 20;
    return give(std::move(response));
  });
}

void TestServer::run(ServerOptions options, reactor::ReactorOptions reactor_options,
                     std::promise<uint16_t> ready) {
  auto reactor = reactor::Reactor::create(reactor_options);
  CHECK(reactor.has_value());
  reactor_ = std::move(*reactor);
  gate_ = std::make_unique<reactor::Event>(*reactor_);
  stop_wanted_ = std::make_unique<reactor::Event>(*reactor_);
  server_ = std::make_unique<Server>(*reactor_, router_, std::move(options));
  CHECK(server_->listen().has_value());
  ready.set_value(server_->port());
  reactor_->run(serve());
  server_.reset();
  stop_wanted_.reset();
  gate_.reset();
  reactor_.reset();
}

Task<> TestServer::serve() {
  reactor::Scope scope(*reactor_);
  scope.spawn(server_->serve());
  scope.spawn(stop_when_told());
  co_await scope.join();
}

Task<> TestServer::stop_when_told() {
  (void)co_await stop_wanted_->wait();
  co_await server_->stop(reactor_->now_ns() + grace_ms_ * 1'000'000);
}

template <typename Answer>
Answer TestServer::ask(std::move_only_function<Answer()> question) {
  std::promise<Answer> answer;
  auto future = answer.get_future();
  // The promise goes along: it must outlive its set_value, which may still run when the answer is there.
  reactor_->mailbox().post(
      [&question, promise = std::move(answer)] mutable { promise.set_value(question()); });
  return future.get();
}

ServerStatistics TestServer::statistics() {
  return ask<ServerStatistics>([this] { return server_->statistics(); });
}

uint64_t TestServer::turns() {
  return ask<uint64_t>([this] { return reactor_->statistics().turns; });
}

void TestServer::open_gate() {
  ask<bool>([this] {
    gate_->set();
    return true;
  });
}

void TestServer::begin_stop(int64_t grace_ms) {
  // Not waited for: the reactor may be gone by the time it would answer.
  reactor_->mailbox().post([this, grace_ms] {
    grace_ms_ = grace_ms;
    stop_wanted_->set();
  });
}

void TestServer::join() {
  thread_.join();
}

Task<Response> TestServer::wait(CancelToken client_gone) {
  ++running;
  const auto slept = co_await reactor::SleepOp::for_ms(*reactor_, 60'000, client_gone);
  --running;
  if (!slept) ++cancelled;
  co_return text_response("waited");
}

Task<Response> TestServer::pass_gate(CancelToken client_gone) {
  ++running;
  const auto passed = co_await gate_->wait(client_gone);
  --running;
  if (!passed) ++cancelled;
  co_return text_response("passed");
}

Task<Result<>> TestServer::stream_endlessly(BodyWriter& writer, CancelToken client_gone) {
  const std::string piece(64 << 10, 'x');
  ++running;
  Result<> written;
  while (written && !client_gone.cancelled()) written = co_await writer.write(piece);
  --running;
  if (client_gone.cancelled()) ++cancelled;
  stream_error = written ? Code::cancelled : written.error().code;
  co_return written;
}

}  // namespace lambdo::http
