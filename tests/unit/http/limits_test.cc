#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <vector>

#include "base/log.h"
#include "test_client.h"
#include "test_server.h"

#include "test.h"

namespace lambdo::http {

static const std::string kHealth = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_CASE("a head or a body that does not come in time is answered with 408") {
  TestServer server({.header_timeout_ms = 100, .body_timeout_ms = 150});
  struct Row {
    const char* part;
    const char* names;
    int64_t at_least_ms;
  };
  for (const Row& row :
       {Row{"G", "head", 100}, Row{"GET /health HTTP/1.1\r\nHost: a\r\n", "head", 100},
        Row{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx", "body", 150},
        Row{"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n", "body", 150}}) {
    CAPTURE(row.part);
    TestClient client(server.port());
    const auto start = std::chrono::steady_clock::now();
    client.send(row.part);
    const RawResponse response = client.receive();
    CHECK(response.status == 408);
    CHECK(response.body.contains("\"code\":\"timeout\""));
    CHECK(response.body.contains(row.names));
    CHECK(client.ended());
    CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(row.at_least_ms));
  }
  CHECK(server.statistics().timeouts == 4);
}

TEST_CASE("bytes that trickle in do not extend the time") {
  TestServer server({.header_timeout_ms = 200});
  TestClient client(server.port());
  std::atomic<bool> answered = false;
  std::thread trickle([&] {
    client.send("GET /health HTTP/1.1\r\nHost: a\r\nX: ");
    while (!answered && client.send("x")) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  });
  CHECK(client.receive().status == 408);
  answered = true;
  trickle.join();
}

TEST_CASE("an idle connection is closed silently, a fresh one and one that has served") {
  TestServer server({.header_timeout_ms = 5000, .idle_timeout_ms = 100});
  TestClient fresh(server.port());
  TestClient used(server.port());
  CHECK(used.exchange(kHealth).status == 200);
  CHECK(fresh.ended());
  CHECK(used.ended());
  TestClient only_line_breaks(server.port());
  only_line_breaks.send("\r\n");
  CHECK(only_line_breaks.ended());
}

TEST_CASE("a connection in use is not idle: a request may take longer than the idle time") {
  TestServer server({.idle_timeout_ms = 50});
  TestClient client(server.port());
  client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
  REQUIRE(eventually([&] { return server.running == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  server.open_gate();
  CHECK(client.receive().body == "passed");
}

TEST_CASE("a client that does not read its response is cut off") {
  TestServer server({.write_timeout_ms = 100});
  for (const char* path : {"/big", "/endless"}) {
    CAPTURE(path);
    TestClient client(server.port());
    client.send(std::string("GET ") + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(eventually([&] { return server.statistics().requests > 0; }));
    CHECK(eventually([&] { return server.statistics().connections_open == 0; }));
  }
  CHECK(server.statistics().timeouts == 2);
  CHECK(server.stream_error == Code::timeout);
}

TEST_CASE("a stream ends when its client goes") {
  TestServer server;
  TestClient client(server.port());
  client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  REQUIRE(eventually([&] { return server.running == 1; }));
  client.close();
  CHECK(eventually([&] { return server.running == 0; }));
}

TEST_CASE("a connection over the limit is told so, and one that closes makes room") {
  TestServer server({.max_connections = 2});
  TestClient first(server.port());
  TestClient second(server.port());
  CHECK(first.exchange(kHealth).status == 200);
  CHECK(second.exchange(kHealth).status == 200);
  {
    TestClient third(server.port());
    const RawResponse response = third.exchange(kHealth);
    CHECK(response.status == 503);
    CHECK(response.headers.at("retry-after") == "1");
    CHECK(response.body.contains("\"code\":\"overloaded\""));
    CHECK(third.ended());
  }
  CHECK(first.exchange(kHealth).status == 200);
  CHECK(server.statistics().connections_refused == 1);
  second.close();
  CHECK(eventually([&] { return TestClient(server.port()).exchange(kHealth).status == 200; }));
}

TEST_CASE("refused connections that stay do not pile up") {
  TestServer server({.max_connections = 1});
  TestClient first(server.port());
  CHECK(first.exchange(kHealth).status == 200);
  std::vector<std::unique_ptr<TestClient>> crowd;
  crowd.reserve(200);
  for (int i = 0; i < 200; ++i) crowd.push_back(std::make_unique<TestClient>(server.port()));
  REQUIRE(eventually([&] { return server.statistics().connections_refused >= 64; }));
  CHECK(server.statistics().connections_open <= 65);
  CHECK(first.exchange(kHealth).status == 200);
}

TEST_CASE("a thousand idle connections leave the server answering, and none is left behind") {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit wanted{std::max<rlim_t>(limit.rlim_cur, 2500), std::max<rlim_t>(limit.rlim_max, 2500)};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &wanted) == 0);
  const size_t before = open_descriptors();
  {
    TestServer server({.max_connections = 1100});
    std::vector<std::unique_ptr<TestClient>> crowd;
    crowd.reserve(1000);
    for (int i = 0; i < 1000; ++i) crowd.push_back(std::make_unique<TestClient>(server.port()));
    REQUIRE(eventually([&] { return server.statistics().connections_open == 1000; }));
    TestClient client(server.port());
    CHECK(client.exchange(kHealth).status == 200);
    for (auto& idle : crowd) CHECK(idle->exchange(kHealth).status == 200);
    server.begin_stop(10'000);
    for (auto& idle : crowd) CHECK(idle->ended());
    server.join();
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("without descriptors the server waits and goes on when there are some again") {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit tight{open_descriptors() + 40, limit.rlim_max};
  // Before the server starts: an accept keeps the limit of when it was submitted.
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  {
    TestServer server;
    TestClient first(server.port());
    REQUIRE(first.exchange(kHealth).status == 200);
    const uint64_t turns_before = server.turns();
    // Used once before: UBSan opens descriptors at its first look at a type.
    log::info("the warning that follows is this test's doing");
    REQUIRE(server.statistics().connections_accepted == 1);
    std::vector<Fd> fillers;
    for (int filler = 0; (filler = ::dup(first.fd())) >= 0;) fillers.emplace_back(filler);
    // The next client's descriptor fits, the server's for it does not.
    fillers.pop_back();
    TestClient second(server.port());
    second.send(kHealth);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    CHECK(first.exchange(kHealth).status == 200);
    CHECK(server.statistics().connections_accepted == 1);
    fillers.clear();
    CHECK(server.turns() - turns_before < 100);
    CHECK(second.receive().status == 200);
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

}  // namespace lambdo::http
