#include "agent/host_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>

#include "agent/event_loop.h"
#include "agent/host_client.h"
#include "base/syscalls.h"
#include "lambdo.pb.h"

#include "test.h"

namespace lambdo::agent {

namespace proto = grpc_definitions;

/// Answers with the request: at once, or "/later" when it is told to. After "/last" it ends the output.
class Handler final : public rpc::CallHandler {
 public:
  void on_call(rpc::ServerSession& session, int32_t call, std::string_view method,
               std::string request) override {
    session_ = &session;
    call_ = call;
    REQUIRE(message_.ParseFromString(request));
    if (method == "/later") return;
    finish();
    if (method == "/last") session.end_output();
  }
  void on_cancelled(rpc::ServerSession&, int32_t) override { ++cancelled; }
  void finish() { session_->finish(call_, rpc::frame_message(message_)); }
  [[nodiscard]] bool called() const { return session_ != nullptr; }

  int cancelled = 0;

 private:
  rpc::ServerSession* session_ = nullptr;
  int32_t call_ = 0;
  proto::StatusMessage message_;
};

/// A connection on a loop, and the other end of its socket.
struct Connected {
  Connected() {
    auto [ours, theirs] = sys::socketpair(SOCK_STREAM).value();
    client_end = std::move(theirs);
    connection = HostConnection::create(loop, std::move(ours), handler, [this] {
                   ++closed;
                   connection.reset();
                 }).value();
  }

  EventLoop loop = EventLoop::create().value();
  Handler handler;
  int closed = 0;
  Fd client_end;
  std::unique_ptr<HostConnection> connection;
};

/// Calls `method` from a thread of its own, while the loop turns, until the call has ended.
static Result<> call(Connected& connected, HostClient& client, const std::string& method, size_t len_bytes) {
  proto::StatusMessage request;
  request.set_id(std::string(len_bytes, 'x'));
  proto::StatusMessage response;
  Result<> outcome;
  std::atomic<bool> done = false;
  std::thread caller([&] {
    outcome = client.call(method, request, response, 10'000);
    done = true;
  });
  while (!done) {
    connected.loop.turn(1);
    if (method == "/later" && connected.handler.called()) connected.handler.finish();
  }
  caller.join();
  if (outcome) CHECK_EQ(response.id(), request.id());
  return outcome;
}

TEST_CASE("the host's calls are answered, also those that do not fit into the socket at once") {
  Connected connected;
  const auto client = HostClient::create(std::move(connected.client_end)).value();
  for (const size_t len_bytes : {0UL, 5UL, 70'000UL, 9UL << 20}) {
    CHECK(call(connected, *client, "/echo", len_bytes));
  }
  CHECK_EQ(connected.closed, 0);
}

TEST_CASE("an answer that comes later is sent although nothing arrives") {
  Connected connected;
  const auto client = HostClient::create(std::move(connected.client_end)).value();
  CHECK(call(connected, *client, "/later", 9 << 20));
}

TEST_CASE("after the last answer the host sees the end, and the connection closes when the host does") {
  Connected connected;
  auto client = HostClient::create(std::move(connected.client_end)).value();
  CHECK(call(connected, *client, "/last", 5));
  const Result<> next = call(connected, *client, "/echo", 5);
  REQUIRE(!next);
  CHECK_EQ(next.error().code, Code::closed);
  client.reset();
  for (int i = 0; i < 100 && connected.closed == 0; ++i) connected.loop.turn(10);
  CHECK_EQ(connected.closed, 1);
}

TEST_CASE("a call that waits is cancelled when the host is gone, and with the connection") {
  Connected connected;
  const auto session = rpc::ClientSession::create({}).value();
  REQUIRE(session->start("/later", rpc::frame_message(proto::StatusMessage()), [](const auto&) {}));
  std::string output;
  REQUIRE(session->take_output(output));
  REQUIRE(sys::write_all(connected.client_end.get(), output));
  while (!connected.handler.called()) connected.loop.turn(10);
  SUBCASE("the host is gone") {
    connected.client_end.reset();
    for (int i = 0; i < 100 && connected.closed == 0; ++i) connected.loop.turn(10);
    CHECK_EQ(connected.closed, 1);
  }
  SUBCASE("the connection is destroyed") {
    connected.connection.reset();
    CHECK_EQ(connected.closed, 0);
  }
  CHECK_EQ(connected.handler.cancelled, 1);
}

TEST_CASE("bytes that are no HTTP/2 end the connection") {
  Connected connected;
  REQUIRE(sys::write_all(connected.client_end.get(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  for (int i = 0; i < 100 && connected.closed == 0; ++i) connected.loop.turn(10);
  CHECK_EQ(connected.closed, 1);
}

}  // namespace lambdo::agent
