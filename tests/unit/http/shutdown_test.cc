#include <chrono>

#include "test_client.h"
#include "test_server.h"

#include "test.h"

namespace lambdo::http {

static const std::string kHealth = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
static const std::string kGate = "GET /gate HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_CASE("stopping closes idle connections at once, lets requests end and leaves nothing behind") {
  const size_t before = open_descriptors();
  {
    TestServer server;
    TestClient fresh(server.port());
    TestClient idle(server.port());
    TestClient half(server.port());
    TestClient busy(server.port());
    REQUIRE(idle.exchange(kHealth).status == 200);
    busy.send(kGate + kHealth);
    half.send(kHealth.substr(0, 10));
    REQUIRE(eventually([&] { return server.running == 1 && server.statistics().connections_open == 4; }));
    server.begin_stop(60'000);
    CHECK(fresh.ended());
    CHECK(idle.ended());
    half.send(kHealth.substr(10));
    CHECK(half.receive().headers.at("connection") == "close");
    CHECK(half.ended());
    server.open_gate();
    const RawResponse last = busy.receive();
    CHECK(last.body == "passed");
    CHECK(last.headers.at("connection") == "close");
    CHECK(busy.ended());
    busy.close();
    server.join();
    CHECK(server.cancelled == 0);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("what still runs at the deadline is cancelled, and what is half received dropped") {
  const size_t before = open_descriptors();
  {
    TestServer server;
    TestClient waiting(server.port());
    TestClient streaming(server.port());
    TestClient half(server.port());
    waiting.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    streaming.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    half.send("GET /hea");
    REQUIRE(eventually([&] { return server.running == 2 && server.statistics().connections_open == 3; }));
    server.begin_stop(50);
    server.join();
    CHECK(server.running == 0);
    CHECK(server.cancelled == 2);
    CHECK(half.ended());
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("while requests run a server that stops answers new connections, once each") {
  TestServer server;
  TestClient busy(server.port());
  TestClient idle(server.port());
  busy.send(kGate);
  REQUIRE(eventually([&] { return server.running == 1; }));
  server.begin_stop(60'000);
  CHECK(idle.ended());
  for (int i = 0; i < 3; ++i) {
    TestClient late(server.port());
    late.send(kHealth);
    const RawResponse answer = late.receive();
    CHECK(answer.status == 200);
    CHECK(answer.headers.at("connection") == "close");
    CHECK(late.ended());
  }
  server.open_gate();
  CHECK(busy.receive().body == "passed");
  server.join();
}

TEST_CASE("connections that come while a server stops do not hold its end up") {
  TestServer server;
  TestClient busy(server.port());
  TestClient idle(server.port());
  busy.send(kGate);
  REQUIRE(eventually([&] { return server.running == 1; }));
  server.begin_stop(60'000);
  REQUIRE(idle.ended());
  TestClient silent(server.port());
  TestClient half(server.port());
  half.send(kHealth.substr(0, 10));
  REQUIRE(eventually([&] { return server.statistics().connections_open == 3; }));
  const auto begin = std::chrono::steady_clock::now();
  server.open_gate();
  CHECK(busy.receive().body == "passed");
  server.join();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  CHECK(silent.ended());
  CHECK(half.ended());
}

TEST_CASE("a server that never served can be stopped") {
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  Router router;
  Server server(**reactor, router, {.port = 0});
  REQUIRE(server.listen());
  (*reactor)->run(server.stop((*reactor)->now_ns()));
}

TEST_CASE("a port in use is an error that names it") {
  TestServer other;
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  Router router;
  Server server(**reactor, router, {.port = other.port()});
  const auto listening = server.listen();
  REQUIRE_FALSE(listening);
  CHECK(listening.error().message.contains("127.0.0.1 port " + std::to_string(other.port())));
}

}  // namespace lambdo::http
