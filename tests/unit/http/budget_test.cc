#include <sys/socket.h>

#include <chrono>
#include <string>
#include <vector>

#include "test_client.h"
#include "test_server.h"

#include "test.h"

namespace lambdo::http {

static constexpr size_t kMiB = 1 << 20;
static const std::string kHealth = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
static const std::string kBig = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
static const std::string kEndless = "GET /endless HTTP/1.1\r\nHost: a\r\n\r\n";

static std::string post(size_t len_bytes, size_t sent_bytes) {
  return "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(len_bytes) + "\r\n\r\n" +
         std::string(sent_bytes, 'x');
}

static void check_over_budget(const RawResponse& response) {
  CHECK(response.status == 503);
  CHECK(response.headers.at("retry-after") == "1");
  CHECK(response.body.contains("\"code\":\"overloaded\""));
}

TEST_CASE("the bodies of all connections together are bounded") {
  TestServer server({.max_body_bytes = kMiB, .max_buffered_bytes = kMiB});
  TestClient first(server.port());
  first.send(post(800'000, 700'000));
  REQUIRE(eventually([&] { return server.statistics().buffered_bytes == 700'000; }));
  for (const char* framing :
       {"Content-Length: 500000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n7a120\r\n"}) {
    CAPTURE(framing);
    TestClient second(server.port());
    second.send(std::string("POST /echo HTTP/1.1\r\nHost: a\r\n") + framing + std::string(500'000, 'x'));
    check_over_budget(second.receive());
    CHECK(second.ended());
  }
  CHECK(eventually([&] { return server.statistics().buffered_bytes == 700'000; }));
  CHECK(server.statistics().over_budget == 2);
  CHECK(first.exchange(std::string(100'000, 'x')).status == 200);
  CHECK(eventually([&] { return server.statistics().buffered_bytes == 0; }));
  CHECK(TestClient(server.port()).exchange(post(500'000, 500'000)).status == 200);
}

TEST_CASE("a client that goes in the middle of its body gives back what it held") {
  TestServer server;
  {
    TestClient client(server.port());
    client.send(post(800'000, 700'000));
    REQUIRE(eventually([&] { return server.statistics().buffered_bytes == 700'000; }));
  }
  CHECK(eventually([&] { return server.statistics().buffered_bytes == 0; }));
}

TEST_CASE("a body is held while its request runs, not after") {
  TestServer server;
  TestClient client(server.port());
  client.send("GET /gate HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
  REQUIRE(eventually([&] { return server.running == 1; }));
  CHECK(server.statistics().buffered_bytes == 5);
  server.open_gate();
  CHECK(client.receive().status == 200);
  CHECK(server.statistics().buffered_bytes == 0);
}

TEST_CASE("responses that nobody reads are bounded, whole ones and streams, and small ones still pass") {
  struct Row {
    const std::string& request;
    size_t held_bytes;
  };
  for (const Row& row : {Row{kBig, 16 * kMiB}, Row{kEndless, kMiB}}) {
    CAPTURE(row.request);
    TestServer server({.max_buffered_bytes = row.held_bytes + 100'000});
    TestClient reads_nothing(server.port());
    reads_nothing.send(row.request);
    REQUIRE(eventually([&] { return server.statistics().buffered_bytes == row.held_bytes; }));
    TestClient other(server.port());
    check_over_budget(other.exchange(row.request));
    CHECK(other.exchange(kHealth).status == 200);
    CHECK(server.statistics().over_budget == 1);
    reads_nothing.close();
    CHECK(eventually([&] { return server.statistics().buffered_bytes == 0; }));
    if (row.request == kBig) CHECK(other.exchange(row.request).status == 200);
  }
}

/// Reads so much every ten milliseconds until the server ends the connection, or `wanted_bytes` have come.
static size_t read_slowly(const TestClient& client, size_t piece_bytes, size_t wanted_bytes) {
  std::vector<char> buffer(piece_bytes);
  size_t total_bytes = 0;
  while (total_bytes < wanted_bytes) {
    const ssize_t count = ::recv(client.fd(), buffer.data(), buffer.size(), 0);
    if (count <= 0) break;
    total_bytes += static_cast<size_t>(count);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return total_bytes;
}

TEST_CASE("a client that takes a response ever so slowly is cut off, one that keeps the rate is not") {
  // Taking 256 KiB every ten milliseconds, 16 MiB need over half a second.
  static constexpr size_t kPieceBytes = 256 << 10;
  SUBCASE("too slow") {
    TestServer server({.write_timeout_ms = 200, .min_write_bytes_per_s = 1024 * kMiB});
    TestClient client(server.port());
    client.send(kBig);
    CHECK(read_slowly(client, kPieceBytes, 16 * kMiB) < 16 * kMiB);
    CHECK(eventually([&] { return server.statistics().connections_open == 0; }));
    CHECK(server.statistics().timeouts == 1);
  }
  SUBCASE("too slow for a stream") {
    TestServer server({.write_timeout_ms = 200, .min_write_bytes_per_s = 1024 * kMiB});
    TestClient client(server.port());
    client.send(kEndless);
    CHECK(read_slowly(client, kPieceBytes, 32 * kMiB) < 32 * kMiB);
    CHECK(eventually([&] { return server.statistics().connections_open == 0; }));
    CHECK(server.stream_error == Code::timeout);
  }
  SUBCASE("fast enough") {
    TestServer server({.write_timeout_ms = 400, .min_write_bytes_per_s = 1024});
    TestClient client(server.port());
    client.send(kBig);
    CHECK(read_slowly(client, kPieceBytes, 16 * kMiB) >= 16 * kMiB);
    CHECK(server.statistics().timeouts == 0);
  }
}

}  // namespace lambdo::http
