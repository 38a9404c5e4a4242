#include <vector>

#include "request_cases.h"
#include "test_client.h"
#include "test_server.h"

#include "test.h"

namespace lambdo::http {

static const std::string kHealth = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

static std::string echo(const std::string& query) {
  return "GET /echo?" + query + " HTTP/1.1\r\nHost: a\r\n\r\n";
}

/// Both ways to receive and accept: what the kernel offers, and the plain path.
static std::vector<reactor::ReactorOptions> both_paths() {
  return {{}, {.multishot_accept = false, .provided_buffers = false}};
}

static void check_answer(const RequestCase& request, const RawResponse& response) {
  REQUIRE(response.status == request.status);
  if (request.status == 200) {
    CHECK(response.body == request.answer);
  } else {
    CHECK(response.body.starts_with("{\"error\":{\"code\":\"" + request.code + "\",\"message\":\""));
    CHECK(response.headers.at("connection") == "close");
  }
}

TEST_CASE("the server answers what is valid and refuses every attack, however the bytes are split") {
  TestServer server({.max_header_bytes = kCaseMaxHeaderBytes, .max_body_bytes = kCaseMaxBodyBytes});
  for (const RequestCase& request : request_cases()) {
    CAPTURE(request.name);
    const std::string_view bytes = request.bytes;
    // Long ones repeat one byte; every split of them takes too long here and the parser's test does it.
    const size_t step = bytes.size() > 300 ? 41 : 1;
    for (size_t split = 0; split < bytes.size(); split += step) {
      CAPTURE(split);
      TestClient client(server.port());
      client.send(bytes.substr(0, split));
      client.send(bytes.substr(split));
      RawResponse response = client.receive();
      if (response.status == 100) response = client.receive();
      check_answer(request, response);
      if (request.status != 200) CHECK(client.ended());
    }
  }
  TestClient client(server.port());
  CHECK(client.exchange(kHealth).status == 200);
}

TEST_CASE("requests on one connection are answered in order, sent one by one or all at once") {
  for (const auto& options : both_paths()) {
    TestServer server({}, options);
    TestClient client(server.port());
    std::string all;
    for (int i = 0; i < 200; ++i) {
      CHECK(client.exchange(echo(std::to_string(i))).body == "GET /echo?" + std::to_string(i) + " ");
      all += echo(std::to_string(i));
      all += "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    }
    client.send(all);
    for (int i = 0; i < 200; ++i) {
      CHECK(client.receive().body == "GET /echo?" + std::to_string(i) + " ");
      CHECK(client.receive().body == "POST /echo? x");
    }
    CHECK(server.statistics().requests == 600);
    CHECK(server.statistics().connections_accepted == 1);
  }
}

TEST_CASE("pipelined requests wait while one is handled, and the server stops reading at its cap") {
  for (const auto& options : both_paths()) {
    TestServer server({}, options);
    TestClient client(server.port());
    client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(eventually([&] { return server.running == 1; }));
    constexpr int kCount = 20;
    const std::string body(512 << 10, 'x');
    std::thread sender([&] {
      for (int i = 0; i < kCount; ++i) {
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body);
      }
    });
    REQUIRE(eventually([&] { return server.statistics().bytes_in > (64 << 10); }));
    server.open_gate();
    CHECK(client.receive().body == "passed");
    for (int i = 0; i < kCount; ++i) CHECK(client.receive().body == "POST /echo? " + body);
    sender.join();
  }
}

TEST_CASE("the connection closes when the client asks or speaks HTTP/1.0, and stays where that asks for it") {
  TestServer server;
  TestClient closing(server.port());
  CHECK(closing.exchange("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .headers["connection"] == "close");
  CHECK(closing.ended());
  TestClient old(server.port());
  CHECK(old.exchange("GET /health HTTP/1.0\r\n\r\n").body == "ok");
  CHECK(old.ended());
  TestClient kept(server.port());
  for (int i = 0; i < 2; ++i) {
    auto response = kept.exchange("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(response.headers["connection"] == "keep-alive");
  }
}

TEST_CASE("what is pipelined behind a request that closes the connection is not run") {
  TestServer server;
  TestClient client(server.port());
  client.send("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + kHealth);
  CHECK(client.receive().status == 200);
  CHECK(client.ended());
  client.close();
  CHECK(eventually([&] { return server.statistics().connections_open == 0; }));
  CHECK(server.statistics().requests == 1);
}

TEST_CASE("HEAD is answered as GET without the body") {
  TestServer server;
  TestClient client(server.port());
  for (const char* path : {"/health", "/stream", "/health"}) {
    client.send(std::string("HEAD ") + path + " HTTP/1.1\r\nHost: a\r\n\r\n");
    const RawResponse response = client.receive(false);
    CHECK(response.status == 200);
    if (std::string_view(path) == "/health") CHECK(response.headers.at("content-length") == "2");
  }
  CHECK(client.exchange(kHealth).body == "ok");
}

TEST_CASE("unknown paths are 404, other methods 405 with Allow, OPTIONS gives Allow") {
  TestServer server;
  TestClient client(server.port());
  auto response = client.exchange("GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(response.status == 404);
  CHECK(response.body == R"({"error":{"code":"not_found","message":"nothing is served at /none"}})");
  response = client.exchange("DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(response.status == 405);
  CHECK(response.headers["allow"] == "GET, HEAD, POST, OPTIONS");
  response = client.exchange("OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(response.status == 204);
  CHECK(response.headers["allow"] == "GET, HEAD, POST, OPTIONS");
  CHECK(client.exchange("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status == 204);
  CHECK(client.exchange("OPTIONS /none HTTP/1.1\r\nHost: a\r\n\r\n").status == 404);
}

TEST_CASE("a client that waits for leave to send its body gets it, unless the body would be refused") {
  TestServer server({.max_body_bytes = 10});
  TestClient client(server.port());
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: ";
  for (int i = 0; i < 2; ++i) {
    CHECK(client.exchange(head + "2\r\n\r\n").status == 100);
    CHECK(client.exchange("xy").body == "POST /echo? xy");
  }
  CHECK(client.exchange(head + "11\r\n\r\n").status == 413);
  CHECK(client.ended());
}

TEST_CASE("a streamed body is chunked, and goes to the connection's end for HTTP/1.0") {
  TestServer server;
  TestClient client(server.port());
  for (int i = 0; i < 2; ++i) {
    auto response = client.exchange("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(response.headers["transfer-encoding"] == "chunked");
    CHECK(response.body == "onetwothree");
  }
  TestClient old(server.port());
  auto response = old.exchange("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK_FALSE(response.headers.contains("transfer-encoding"));
  CHECK(response.headers["connection"] == "close");
  CHECK(response.body == "onetwothree");
}

TEST_CASE("a stream that fails is cut off, so that its client sees that the body is not whole") {
  TestServer server;
  TestClient client(server.port());
  client.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string all = client.receive_all();
  CHECK(all.ends_with("3\r\none\r\n"));
}

TEST_CASE(
    "a client that goes cancels its request at once, whether it closes or resets, with requests pending or "
    "not") {
  for (const auto& options : both_paths()) {
    TestServer server({}, options);
    for (const bool reset : {false, true}) {
      for (const size_t pending_bytes : {0UL, 100UL, 80UL << 10}) {
        CAPTURE(reset);
        CAPTURE(pending_bytes);
        const int before = server.cancelled;
        TestClient client(server.port());
        client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        REQUIRE(eventually([&] { return server.running == 1; }));
        client.send(std::string(pending_bytes, 'x'));
        if (reset) {
          client.reset();
        } else {
          client.close();
        }
        CHECK(eventually([&] { return server.cancelled == before + 1; }));
      }
    }
    CHECK(eventually([&] { return server.statistics().connections_open == 0; }));
  }
}

TEST_CASE("a client that ends only its own direction still gets its answers") {
  TestServer server;
  TestClient client(server.port());
  client.send(kHealth + kHealth);
  client.shutdown_write();
  CHECK(client.receive().status == 200);
  CHECK(client.receive().status == 200);
  CHECK(client.ended());
}

TEST_CASE("a request that the connection's end cuts short is answered with 400") {
  TestServer server;
  for (const char* part :
       {"GET /health HT", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab"}) {
    TestClient client(server.port());
    client.send(part);
    client.shutdown_write();
    CHECK(client.receive().status == 400);
    CHECK(client.ended());
  }
}

TEST_CASE("a client that sends all of a refused body before it reads still gets the answer") {
  TestServer server({.max_body_bytes = 1000});
  TestClient client(server.port());
  const size_t len_bytes = 8 << 20;
  REQUIRE(client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(len_bytes) +
                      "\r\n\r\n"));
  REQUIRE(client.send(std::string(len_bytes, 'x')));
  CHECK(client.receive().status == 413);
  CHECK(client.ended());
}

TEST_CASE("large bodies go both ways") {
  TestServer server;
  TestClient client(server.port());
  std::string body(5 << 20, 'x');
  for (size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>(i);
  const auto response = client.exchange(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  CHECK(response.body == "POST /echo? " + body);
}

}  // namespace lambdo::http
