#include "engine/agent_listener.h"

#include <sys/socket.h>

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "agent_peer.h"
#include "base/syscalls.h"
#include "engine/agent_client.h"
#include "engine/agent_grpc.h"
#include "lambdo.grpc.pb.h"
#include "reactor/stream.h"
#include "reactor/timer.h"

#include "test.h"

// Each guest is an address of the loopback network.
namespace lambdo::engine {

namespace proto = grpc_definitions;
using reactor::Task;

struct Host {
  std::unique_ptr<reactor::Reactor> reactor = reactor::Reactor::create().value();
  AgentGrpc agents{*reactor};
  AgentListener listener;

  explicit Host(int64_t connection_ms = 10'000)
      : listener(*reactor, {.host = "127.0.0.1", .connection_ms = connection_ms}) {
    REQUIRE(listener.start());
  }
  uint16_t port() { return listener.port(); }
  [[nodiscard]] const AgentListenerStatistics& statistics() const { return listener.statistics(); }
  void run(Task<> test) {
    reactor->run(std::move(test));
    reactor->run(listener.stop());
    CHECK_EQ(statistics().connections_open, 0);
  }
};

/// A guest's end of a connection that is driven by hand.
struct Peer {
  Peer(Host& host, const std::string& address)
      : reactor(*host.reactor), stream(*host.reactor, connect_from(address, host.port())) {}

  Task<> send(std::string bytes) { (void)co_await stream.send(reactor::as_bytes(bytes), {}); }
  /// All that comes until `wanted` is in it, the connection ends or it takes 10 s.
  Task<bool> receives(std::string wanted) {
    reactor::Deadline deadline(reactor, reactor.now_ns() + 10'000'000'000);
    while (received.find(wanted) == std::string::npos) {
      const auto chunk = co_await stream.receive(deadline.token());
      if (!chunk || chunk->empty()) co_return false;
      received += reactor::as_text(chunk->bytes());
    }
    co_return true;
  }
  /// Whether the listener ends the connection.
  Task<bool> is_closed() {
    reactor::Deadline deadline(reactor, reactor.now_ns() + 10'000'000'000);
    while (true) {
      const auto chunk = co_await stream.receive(deadline.token());
      if (!chunk) co_return !deadline.passed();
      if (chunk->empty()) co_return true;
      received += reactor::as_text(chunk->bytes());
    }
  }
  /// Whether a call was answered: a HEADERS frame with END_HEADERS and END_STREAM on its stream.
  Task<bool> answers(char call) { return receives(std::string("\x01\x05\0\0\0", 5) + call); }
  /// The id that Register got: 32 hex digits behind the field's tag and length.
  [[nodiscard]] std::string id() const {
    const size_t at = received.find("\x0a\x20");
    REQUIRE_NE(at, std::string::npos);
    return received.substr(at + 2, 32);
  }

  reactor::Reactor& reactor;
  reactor::SocketStream stream;
  std::string received;
};

static proto::ExecuteRequest program(const std::string& command) {
  proto::ExecuteRequest request;
  request.set_id("run-1");
  proto::FileModel& file = *request.add_files();
  file.set_filename("main.sh");
  file.set_content("echo \"content $1\"; echo problem >&2; exit 3");
  proto::ExecuteRequestStep& step = *request.add_steps();
  step.set_command(command);
  step.set_enable_output(true);
  return request;
}

static Task<> serve_original(Host& host, ExpectedAgent& expected, std::string name) {
  reactor::Deadline deadline(*host.reactor, host.reactor->now_ns() + 20'000'000'000);
  auto socket = co_await expected.connect(deadline.token());
  REQUIRE_MESSAGE(socket, socket.error().message);
  CHECK(expected.registered());
  CHECK(expected.ready());
  const auto connection = AgentConnection::create(host.agents, *std::move(socket)).value();
  const auto ready = co_await connection->wait_ready(deadline.token());
  REQUIRE_MESSAGE(ready, ready.error().message);
  const proto::ExecuteRequest request = program("sh ./main.sh " + name);
  const auto answer = co_await connection->execute(request, deadline.token());
  REQUIRE_MESSAGE(answer, answer.error().message);
  CHECK_EQ(answer->id(), "run-1");
  REQUIRE_EQ(answer->steps_size(), 1);
  CHECK_EQ(answer->steps(0).command(), "sh ./main.sh " + name);
  CHECK_EQ(answer->steps(0).exit_code(), 3);
  CHECK_EQ(answer->steps(0).stdout(), "content " + name + "\n");
  CHECK_EQ(answer->steps(0).stderr(), "problem\n");
}

struct Workspace {
  Workspace() {
    char name[] = "/tmp/lambdo-original-test-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Workspace() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string path;
};

static Task<> originals_run(Host& host) {
  const Workspace workspace;
  const std::vector<std::vector<std::string>> kinds = {{}, {"--no-status"}, {"--late"}};
  for (const auto& kind : kinds) {
    const auto expected = host.listener.expect("127.0.0.7").value();
    std::vector<std::string> arguments = {"--workspace", workspace.path};
    arguments.insert(arguments.end(), kind.begin(), kind.end());
    const OriginalAgent agent("127.0.0.7", host.port(), arguments);
    co_await serve_original(host, *expected, "one");
  }
  CHECK_EQ(host.statistics().registered, 3);
  CHECK_EQ(host.statistics().refused_calls, 0);
  CHECK_EQ(host.statistics().protocol_errors, 0);
}

TEST_CASE("an agent of the original's kind registers, is dialled back, and runs a program") {
  Host host;
  host.run(originals_run(host));
}

static Task<> serve_and_count(Host& host, ExpectedAgent& expected, std::string name, size_t& served) {
  co_await serve_original(host, expected, std::move(name));
  ++served;
}

static Task<> several_run(Host& host) {
  std::vector<Workspace> workspaces(6);
  std::vector<std::unique_ptr<ExpectedAgent>> expected;
  std::vector<std::unique_ptr<OriginalAgent>> agents;
  reactor::Scope scope(*host.reactor);
  size_t served = 0;
  for (const Workspace& workspace : workspaces) {
    const std::string address = "127.0.1." + std::to_string(10 + expected.size());
    expected.push_back(host.listener.expect(address).value());
    scope.spawn(serve_and_count(host, *expected.back(), address, served));
    agents.push_back(std::make_unique<OriginalAgent>(
        address, host.port(), std::vector<std::string>{"--workspace", workspace.path}));
  }
  co_await scope.join();
  CHECK_EQ(served, 6);
}

TEST_CASE("several guests register at the same time, each is itself") {
  Host host;
  host.run(several_run(host));
}

static Task<> strangers_come(Host& host) {
  CHECK_EQ(host.listener.expect("guest").error().code, Code::invalid_argument);
  CHECK_EQ(host.listener.expect("").error().code, Code::invalid_argument);
  auto expected = host.listener.expect("127.0.0.8").value();
  CHECK_EQ(host.listener.expect("127.0.0.8").error().code, Code::invalid_argument);
  Peer stranger(host, "127.0.0.9");
  co_await stranger.send(http2_preface() + register_call(1, 1234));
  CHECK(co_await stranger.is_closed());
  CHECK_EQ(stranger.received, "");
  CHECK_EQ(host.statistics().refused_unknown, 1);
  CHECK_FALSE(expected->registered());
  // Once it is no longer expected it is a stranger too, and its connections are cut.
  Peer guest(host, "127.0.0.8");
  co_await guest.send(http2_preface());
  CHECK(co_await guest.receives(std::string("\0\0\0\4\1", 5)));
  expected.reset();
  CHECK(co_await guest.is_closed());
  Peer late(host, "127.0.0.8");
  CHECK(co_await late.is_closed());
  CHECK_EQ(host.statistics().refused_unknown, 2);
  // And may be expected again.
  CHECK(host.listener.expect("127.0.0.8"));
}

TEST_CASE("an address from where no guest is expected gets no word, and is counted") {
  Host host;
  host.run(strangers_come(host));
}

static Task<> registers_twice(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  Peer first(host, "127.0.0.8");
  for (const uint32_t port : {0U, 65536U, 4'000'000'000U}) {
    Peer wrong(host, "127.0.0.8");
    co_await wrong.send(http2_preface() + register_call(1, port));
    CHECK(co_await wrong.receives("this is no port to be reached at"));
  }
  co_await first.send(http2_preface() + register_call(1, 1234));
  CHECK(co_await first.receives("\x0a\x20"));
  const std::string id = first.id();
  co_await first.send(register_call(3, 99));
  CHECK(co_await first.receives("this guest's agent has registered already"));
  {
    Peer second(host, "127.0.0.8");
    co_await second.send(http2_preface() + register_call(1, 99) + status_call(3, id + "x", proto::READY) +
                         status_call(5, "", proto::READY));
    CHECK(co_await second.receives("this guest's agent has registered already"));
    CHECK(co_await second.answers(3));
    CHECK(co_await second.answers(5));
  }
  CHECK_FALSE(expected->ready());
  CHECK_EQ(host.statistics().registered, 1);
  CHECK_EQ(host.statistics().refused_calls, 3 + 1 + 3);
  // Neither is RUN what makes it ready.
  co_await first.send(status_call(5, id, proto::RUN) + status_call(7, id, proto::READY));
  while (!expected->ready()) co_await reactor::SleepOp::for_ms(*host.reactor, 1);
  Peer third(host, "127.0.0.8");
  co_await third.send(http2_preface() + register_call(1, 99));
  CHECK(co_await third.receives("this guest's agent has registered already"));
  CHECK_EQ(host.statistics().protocol_errors, 0);
}

TEST_CASE("a guest registers once, with a port, and is ready by its own id only") {
  Host host;
  host.run(registers_twice(host));
}

static Task<> tries_again(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  std::string id;
  {
    Peer first(host, "127.0.0.8");
    co_await first.send(http2_preface() + register_call(1, 1234));
    CHECK(co_await first.receives("\x0a\x20"));
    id = first.id();
  }
  while (host.statistics().connections_open > 0) co_await reactor::SleepOp::for_ms(*host.reactor, 1);
  Peer second(host, "127.0.0.8");
  co_await second.send(http2_preface() + register_call(1, 1235));
  CHECK(co_await second.receives("\x0a\x20" + id));
  co_await second.send(status_call(3, id, proto::ERROR));
  const auto socket = co_await expected->connect({});
  REQUIRE(!socket);
  CHECK_EQ(socket.error().code, Code::agent_protocol);
}

TEST_CASE("an agent whose connection broke may register again; one that says ERROR is given up") {
  Host host;
  host.run(tries_again(host));
}

/// What a gRPC library makes of the answers.
static void call_with_grpc(uint16_t port, std::atomic<bool>& done) {
  const auto stub = proto::LambdoApiService::NewStub(
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  const auto enroll = [&](uint32_t agent_port, const std::string& token) {
    grpc::ClientContext context;
    proto::RegisterRequest request;
    request.set_port(agent_port);
    request.set_token(token);
    proto::RegisterResponse response;
    const grpc::Status status = stub->Register(&context, request, &response);
    return status.ok() ? response.ShortDebugString() : status.error_message();
  };
  const auto say = [&](const std::string& id, proto::Code code) {
    grpc::ClientContext context;
    proto::StatusMessage request;
    request.set_id(id);
    request.set_code(code);
    proto::Empty response;
    return stub->Status(&context, request, &response);
  };
  CHECK_EQ(say("", proto::READY).error_code(), grpc::StatusCode::NOT_FOUND);
  CHECK_EQ(enroll(0, ""), "error: \"this is no port to be reached at\"");
  CHECK_EQ(enroll(1234, std::string(5000, 't')), "a message of 5006 bytes; the maximum is 4096");
  const std::string answer = enroll(1234, "");
  CHECK(answer.starts_with("id: \""));
  CHECK_EQ(answer.size(), 4 + 2 + 32);
  CHECK_EQ(say("x", proto::READY).error_message(), "no agent has this id");
  CHECK(say(answer.substr(5, 32), proto::READY).ok());
  CHECK_EQ(enroll(1234, ""), "error: \"this guest\\'s agent has registered already\"");
  done = true;
}

static Task<> grpc_calls(Host& host) {
  const auto expected = host.listener.expect("127.0.0.1").value();
  std::atomic<bool> done = false;
  std::thread client([&] { call_with_grpc(host.port(), done); });
  while (!done) co_await reactor::SleepOp::for_ms(*host.reactor, 1);
  client.join();
  CHECK(expected->ready());
  CHECK_EQ(host.statistics().protocol_errors, 0);
}

TEST_CASE("a gRPC library understands every answer") {
  Host host;
  host.run(grpc_calls(host));
}

static Task<> garbage_comes(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  const std::string path = "/grpc_definitions.LambdoApiService/Register";
  std::string settings = http2_preface();
  while (settings.size() <= AgentListener::kLimits.max_received_bytes)
    settings += http2_frame(6, 0, 0, "12345678");
  const std::vector<std::string> rows = {
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      std::string(100, '\0'),
      http2_preface() + http2_frame(1, 4, 1, std::string(20, '\xff')),    // no header block
      http2_preface() + http2_frame(0, 0, 1, "data before its headers"),  //
      http2_preface() + http2_frame(4, 0, 0, "12345"),                    // SETTINGS of no such length
      http2_preface() + std::string("\xff\xff\xff\0\0\0\0\0\1", 9),       // a frame of 16 MiB
      settings,
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    Peer peer(host, "127.0.0.8");
    co_await peer.send(rows[i]);
    CHECK(co_await peer.is_closed());
    CHECK_EQ(host.statistics().protocol_errors, i + 1);
  }
  // gRPC that is none ends its call alone.
  Peer peer(host, "127.0.0.8");
  co_await peer.send(http2_preface() + grpc_call(1, path, "\xff\xff") + grpc_call(3, "/no/such", ""));
  CHECK(co_await peer.answers(1));
  CHECK(co_await peer.answers(3));
  co_await peer.send(grpc_call(5, path, std::string(5000, 'x')));
  CHECK(co_await peer.answers(5));
  CHECK_FALSE(expected->registered());
  co_await peer.send(register_call(7, 1234));
  CHECK(co_await peer.receives("\x0a\x20"));
  CHECK(expected->registered());
}

static Task<> many_calls(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  Peer peer(host, "127.0.0.8");
  co_await peer.send(http2_preface());
  uint32_t stream = 1;
  for (uint64_t i = 0; i < AgentListener::kLimits.max_calls; ++i, stream += 2) {
    co_await peer.send(grpc_call(stream, "/x", ""));
    REQUIRE(co_await peer.answers(static_cast<char>(stream)));
  }
  co_await peer.send(grpc_call(stream, "/x", ""));
  CHECK(co_await peer.is_closed());
  CHECK_EQ(host.statistics().protocol_errors, 1);
}

TEST_CASE("a connection has a few calls and no more") {
  Host host;
  host.run(many_calls(host));
}

TEST_CASE("what is no gRPC ends its connection, and the guest can still register") {
  Host host;
  host.run(garbage_comes(host));
}

static Task<> drop_by_drop(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  Peer peer(host, "127.0.0.8");
  // Within the time of a connection any way of cutting is fine.
  for (const char byte : http2_preface() + register_call(1, 1234)) co_await peer.send({byte});
  CHECK(co_await peer.receives("\x0a\x20"));
}

TEST_CASE("a registration may come byte by byte") {
  Host host;
  host.run(drop_by_drop(host));
}

static Task<> slow_ones(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 6; ++i) peers.push_back(std::make_unique<Peer>(host, "127.0.0.8"));
  // Beyond four at once.
  CHECK(co_await peers[4]->is_closed());
  CHECK(co_await peers[5]->is_closed());
  CHECK_EQ(host.statistics().refused_excess, 2);
  // A byte now and then does not move the end.
  const int64_t start_ns = host.reactor->now_ns();
  while (host.statistics().connections_open > 0) {
    REQUIRE_LT(host.reactor->now_ns() - start_ns, 10'000'000'000);
    for (int i = 0; i < 4; ++i) co_await peers[static_cast<size_t>(i)]->send("P");
    co_await reactor::SleepOp::for_ms(*host.reactor, 10);
  }
  CHECK_EQ(host.statistics().timeouts + host.statistics().protocol_errors, 4);
  Peer next(host, "127.0.0.8");
  co_await next.send(http2_preface() + register_call(1, 1234));
  CHECK(co_await next.receives("\x0a\x20"));
}

TEST_CASE("connections that dawdle end at their time, and one guest has only a few") {
  Host host(200);
  host.run(slow_ones(host));
}

static Task<> silent_ones(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  Peer silent(host, "127.0.0.8");
  CHECK(co_await silent.is_closed());
  CHECK_EQ(host.statistics().timeouts, 1);
}

TEST_CASE("a connection on which nothing comes ends at its time") {
  Host host(50);
  host.run(silent_ones(host));
}

static Task<> waits_in_vain(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  reactor::Deadline nobody(*host.reactor, host.reactor->now_ns() + 20'000'000);
  const auto none = co_await expected->connect(nobody.token());
  REQUIRE(!none);
  CHECK_EQ(none.error().code, Code::cancelled);
  // Registered and ready, but it does not listen.
  Peer peer(host, "127.0.0.8");
  co_await peer.send(http2_preface() + register_call(1, 1));
  CHECK(co_await peer.receives("\x0a\x20"));
  co_await peer.send(status_call(3, peer.id(), proto::READY));
  reactor::Deadline deadline(*host.reactor, host.reactor->now_ns() + 100'000'000);
  const auto refused = co_await expected->connect(deadline.token());
  REQUIRE(!refused);
  CHECK_EQ(refused.error().code, Code::cancelled);
}

TEST_CASE("waiting for an agent ends with its token, whether the agent is silent or cannot be dialled") {
  Host host;
  host.run(waits_in_vain(host));
}

static Task<> note_error(ExpectedAgent& expected, Code& code) {
  const auto socket = co_await expected.connect({});
  code = socket ? Code::internal : socket.error().code;
}

static Task<> stops_meanwhile(Host& host) {
  const auto expected = host.listener.expect("127.0.0.8").value();
  reactor::Scope scope(*host.reactor);
  Code code = Code::internal;
  scope.spawn(note_error(*expected, code));
  Peer peer(host, "127.0.0.8");
  co_await peer.send(http2_preface());
  CHECK(co_await peer.receives(std::string("\0\0\0\4\1", 5)));
  co_await host.listener.stop();
  co_await scope.join();
  CHECK_EQ(code, Code::shutting_down);
  CHECK(co_await peer.is_closed());
}

TEST_CASE("stopping ends connections and those that wait for an agent") {
  Host host;
  host.reactor->run(stops_meanwhile(host));
  CHECK_EQ(host.statistics().connections_open, 0);
}

}  // namespace lambdo::engine
