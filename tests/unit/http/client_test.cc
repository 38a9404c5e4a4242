#include "http/client/client.h"

#include <sys/resource.h>

#include <fstream>
#include <string>
#include <vector>

#include "client_harness.h"
#include "peer_server.h"
#include "reactor/scope.h"
#include "reactor/timer.h"
#include "test_client.h"
#include "test_server.h"

#include "test.h"

namespace lambdo::http {

namespace {

/// Answers every request of a connection with its number.
void answer_numbered(Peer& peer) {
  for (int i = 0; peer.read_request(); ++i) {
    if (!peer.write(
            response_text("connection " + std::to_string(peer.index()) + " request " + std::to_string(i)))) {
      return;
    }
  }
}

Task<Result<>> read_to_end(Client& client, ClientRequest request, size_t& total) {
  auto response = CO_TRY(co_await client.send(std::move(request)));
  while (true) {
    const BodyPiece piece = CO_TRY(co_await response.read());
    if (piece.empty()) co_return Result<>{};
    if (piece.bytes().size() > BodyPiece::kMaxBytes) co_return fail(Code::internal, "a piece is too large");
    total += piece.bytes().size();
  }
}

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0;
  size_t resident = 0;
  statm >> pages >> resident;
  return resident * 4096;
}

}  // namespace

TEST_CASE("the client gets whole responses of a real server: fixed, chunked, without a body, errors too") {
  TestServer server;
  ClientHarness harness;
  ClientRequest post = ClientHarness::get_request(http_url(server.port(), "/echo?q", "localhost"));
  post.method = Method::post;
  post.body = "hello";
  const auto answer = harness.fetch(post);
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "POST /echo?q hello");
  CHECK(answer->headers.find("content-type") == "text/plain");
  CHECK(answer->peer_is_private);
  CHECK(harness.get(http_url(server.port(), "/stream"))->body == "onetwothree");
  CHECK(harness.get(http_url(server.port(), "/none"))->status == 404);
  CHECK(harness.get(http_url(server.port(), "/broken")).error().code == Code::closed);
  ClientRequest head = ClientHarness::get_request(http_url(server.port(), "/big"));
  head.method = Method::head;
  const auto headed = harness.fetch(head);
  REQUIRE(headed);
  CHECK(headed->headers.find("content-length") == std::to_string(16 << 20));
  CHECK(headed->body.empty());
  CHECK(harness.get(http_url(server.port(), "/big")).error().code == Code::payload_too_large);
}

TEST_CASE("a response is the same however it is cut into packets") {
  struct Row {
    std::string text;
    std::string body;
  };
  for (const Row& row : {
           Row{response_text("hello", "X: y\r\n"), "hello"},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
               "hello"},
           Row{"HTTP/1.1 100 Continue\r\n\r\n" + response_text("hello"), "hello"},
           Row{"HTTP/1.1 200 OK\r\n\r\nhello", "hello"},
       }) {
    CAPTURE(row.text);
    PeerServer server([&row](Peer& peer) {
      if (peer.read_request()) peer.write_bytewise(row.text);
    });
    ClientHarness harness;
    const auto answer = harness.get(http_url(server.port(), "/"));
    REQUIRE(answer);
    CHECK(answer->body == row.body);
  }
}

TEST_CASE("what the client sends is exactly the request, and nothing can be put into it") {
  PeerServer server([&server](Peer& peer) {
    while (auto request = peer.read_request()) {
      server.record(*request);
      peer.write(response_text(""));
    }
  });
  ClientHarness harness;
  ClientRequest request = ClientHarness::get_request(http_url(server.port(), "/a?b"));
  request.headers = {{"Range", "bytes=5-"}};
  REQUIRE(harness.fetch(request));
  request.method = Method::put;
  REQUIRE(harness.fetch(request));
  const std::string place = "127.0.0.1:" + std::to_string(server.port());
  REQUIRE(server.recorded().size() == 2);
  CHECK(server.recorded()[0] ==
        "GET /a?b HTTP/1.1\r\nHost: " + place + "\r\nUser-Agent: lambdo\r\nRange: bytes=5-\r\n\r\n");
  CHECK(server.recorded()[1] == "PUT /a?b HTTP/1.1\r\nHost: " + place +
                                    "\r\nUser-Agent: lambdo\r\nRange: bytes=5-\r\nContent-Length: 0\r\n\r\n");

  using Change = void (*)(ClientRequest&);
  for (const Change change : std::initializer_list<Change>{
           [](ClientRequest& bad) { bad.headers.add("X", "a\r\nY: b"); },
           [](ClientRequest& bad) { bad.headers.add("X", std::string_view("a\0b", 3)); },
           [](ClientRequest& bad) { bad.headers.add("X\r\nY", "b"); },
           [](ClientRequest& bad) { bad.headers.add("", "b"); },
           [](ClientRequest& bad) { bad.headers.add("X y", "b"); },
           [](ClientRequest& bad) { bad.headers.add("content-length", "5"); },
           [](ClientRequest& bad) { bad.headers.add("Transfer-Encoding", "chunked"); },
           [](ClientRequest& bad) { bad.headers.add("Host", "other"); },
           [](ClientRequest& bad) { bad.url.target = "/ HTTP/1.1\r\nX: y"; },
           [](ClientRequest& bad) { bad.url.target = "none"; },
           [](ClientRequest& bad) { bad.url.host = "a b"; },
           [](ClientRequest& bad) { bad.url.host = "user@a"; },
           [](ClientRequest& bad) { bad.url.scheme = "ftp"; },
       }) {
    ClientRequest bad = ClientHarness::get_request(http_url(server.port(), "/"));
    change(bad);
    const auto answer = harness.fetch(bad);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::invalid_argument);
  }
  CHECK(server.recorded().size() == 2);
}

TEST_CASE("a connection is kept for the next request, unless its response was not read to the end") {
  PeerServer server([](Peer& peer) {
    for (int i = 0; auto request = peer.read_request(); ++i) {
      if (request->contains("/long")) peer.write(response_text(std::string(10 << 20, 'x')));
      peer.write(
          response_text("connection " + std::to_string(peer.index()) + " request " + std::to_string(i)));
    }
  });
  ClientHarness harness;
  const std::string url = http_url(server.port(), "/");
  CHECK(harness.get(url)->body == "connection 0 request 0");
  CHECK(harness.client().kept_connections() == 1);
  CHECK(harness.get(url)->body == "connection 0 request 1");
  // A response that is dropped.
  CHECK(harness.reactor().run(harness.client().send(ClientHarness::get_request(url + "long")))->status() ==
        200);
  CHECK(harness.client().kept_connections() == 0);
  CHECK(harness.get(url)->body == "connection 1 request 0");
  // What may not be sent twice goes on a connection of its own.
  ClientRequest post = ClientHarness::get_request(url);
  post.method = Method::post;
  CHECK(harness.fetch(post)->body == "connection 2 request 0");
}

TEST_CASE("a connection that says close, or sends more than its response, is not kept") {
  for (const std::string& text : {response_text("x", "Connection: close\r\n"), response_text("x") + "y",
                                  std::string("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx")}) {
    PeerServer server([&text](Peer& peer) {
      if (peer.read_request()) peer.write(text);
      peer.ended();
    });
    ClientHarness harness;
    CHECK(harness.get(http_url(server.port(), "/"))->body == "x");
    CHECK(harness.client().kept_connections() == 0);
  }
}

TEST_CASE("a kept connection that the server ended meanwhile is not used") {
  PeerServer server([](Peer& peer) {
    if (peer.read_request()) peer.write(response_text(std::to_string(peer.index())));
  });
  ClientHarness harness;
  CHECK(harness.get(http_url(server.port(), "/"))->body == "0");
  ::usleep(20'000);
  CHECK(harness.get(http_url(server.port(), "/"))->body == "1");
}

TEST_CASE("a request on a kept connection that ends without an answer is sent once more") {
  PeerServer server([&server](Peer& peer) {
    if (!peer.read_request()) return;
    peer.write(response_text(std::to_string(peer.index())));
    // The next request is taken and not answered.
    if (auto request = peer.read_request()) server.record(*request);
  });
  ClientHarness harness;
  const std::string url = http_url(server.port(), "/");
  CHECK(harness.get(url)->body == "0");
  CHECK(harness.get(url)->body == "1");
  CHECK(server.recorded().size() == 1);
  CHECK(server.connections() == 2);
}

TEST_CASE("a request on a new connection that ends without an answer is not sent again") {
  PeerServer server([](Peer& peer) { peer.read_request(); });
  ClientHarness harness;
  CHECK(harness.get(http_url(server.port(), "/")).error().code == Code::closed);
  CHECK(server.connections() == 1);
}

TEST_CASE("kept connections end by themselves, and there are never more than the limits say") {
  PeerServer server(answer_numbered);
  ClientSettings settings = test_settings();
  settings.timeouts.kept_connection_ms = 30;
  ClientHarness harness(settings);
  REQUIRE(harness.get(http_url(server.port(), "/")));
  CHECK(harness.client().kept_connections() == 1);
  harness.reactor().run([](reactor::Reactor& reactor, Client& client) -> Task<> {
    for (int i = 0; i < 500 && client.kept_connections() > 0; ++i) {
      (void)co_await reactor::SleepOp::for_ms(reactor, 10);
    }
  }(harness.reactor(), harness.client()));
  CHECK(harness.client().kept_connections() == 0);

  settings.timeouts.kept_connection_ms = 60'000;
  settings.limits.kept_connections = 2;
  ClientHarness bounded(settings);
  std::vector<std::unique_ptr<PeerServer>> servers;
  for (int i = 0; i < 5; ++i) {
    servers.push_back(std::make_unique<PeerServer>(answer_numbered));
    REQUIRE(bounded.get(http_url(servers.back()->port(), "/")));
  }
  CHECK(bounded.client().kept_connections() == 2);
  CHECK(bounded.get(http_url(servers.back()->port(), "/"))->body == "connection 0 request 1");
}

TEST_CASE("requests beyond the connections per host wait for one to end") {
  std::atomic<int> now = 0;
  std::atomic<int> most = 0;
  PeerServer server([&](Peer& peer) {
    while (peer.read_request()) {
      most = std::max<int>(most, ++now);
      ::usleep(10'000);
      --now;
      peer.write(response_text("x"));
    }
  });
  ClientSettings settings = test_settings();
  settings.limits.connections_per_host = 2;
  ClientHarness harness(settings);
  int good = 0;
  harness.reactor().run([](ClientHarness& own, const std::string& url, int& count) -> Task<> {
    reactor::Scope scope(own.reactor());
    const auto one = [](Client& client, ClientRequest request, int& answered) -> Task<> {
      const auto response = co_await client.fetch(std::move(request), 100);
      if (response && response->body == "x") ++answered;
    };
    for (int i = 0; i < 10; ++i) scope.spawn(one(own.client(), ClientHarness::get_request(url), count));
    co_await scope.join();
  }(harness, http_url(server.port(), "/"), good));
  CHECK(good == 10);
  CHECK(most == 2);
  CHECK(server.connections() == 2);
}

TEST_CASE("a body of any length passes through little memory, and a slow reader slows the server down") {
  constexpr size_t kPieceBytes = 1 << 20;
  constexpr size_t kPieces = 300;
  std::atomic<size_t> sent = 0;
  PeerServer server([&sent](Peer& peer) {
    if (!peer.read_request()) return;
    const std::string piece(kPieceBytes, 'x');
    if (!peer.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kPieceBytes * kPieces) +
                    "\r\n\r\n"))
      return;
    for (size_t i = 0; i < kPieces; ++i) {
      if (!peer.write(piece)) return;
      sent += piece.size();
    }
  });
  ClientHarness harness;
  const std::string url = http_url(server.port(), "/");
  const size_t before = resident_bytes();
  size_t total = 0;
  REQUIRE(harness.reactor().run(read_to_end(harness.client(), ClientHarness::get_request(url), total)));
  CHECK(total == kPieceBytes * kPieces);
  // A sanitizer keeps freed memory to look at.
  if (!kSanitized) CHECK(resident_bytes() < before + (16 << 20));

  sent = 0;
  const size_t at_stop = harness.reactor().run(
      [](ClientHarness& own, const std::string& place, std::atomic<size_t>& count) -> Task<size_t> {
        auto response = co_await own.client().send(ClientHarness::get_request(place));
        if (!response || !co_await response->read()) co_return SIZE_MAX;
        (void)co_await reactor::SleepOp::for_ms(own.reactor(), 300);
        co_return count.load();
      }(harness, url, sent));
  // What the kernel holds for both sides, and no more.
  CHECK(at_stop < 32 << 20);
}

TEST_CASE("time limits say which of them passed") {
  ClientSettings settings = test_settings();
  settings.timeouts.response_head_ms = 50;
  settings.timeouts.idle_body_ms = 50;
  ClientHarness harness(settings);
  PeerServer silent([](Peer& peer) { peer.ended(); });
  auto answer = harness.get(http_url(silent.port(), "/"));
  CHECK(answer.error().code == Code::timeout);
  CHECK(answer.error().message.contains("head"));
  PeerServer slow_head([](Peer& peer) {
    peer.write("HTTP/1.1 200 OK\r\n");
    while (peer.write("X: y\r\n")) ::usleep(5'000);
  });
  answer = harness.get(http_url(slow_head.port(), "/"));
  CHECK(answer.error().code == Code::timeout);
  CHECK(answer.error().message.contains("head"));
  PeerServer stuck([](Peer& peer) {
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    peer.ended();
  });
  answer = harness.get(http_url(stuck.port(), "/"));
  CHECK(answer.error().code == Code::timeout);
  CHECK(answer.error().message.contains("body"));
}

TEST_CASE("a body that trickles is not idle") {
  ClientSettings settings = test_settings();
  settings.timeouts.idle_body_ms = 2'000;
  settings.timeouts.response_head_ms = 2'000;
  ClientHarness harness(settings);
  PeerServer server([](Peer& peer) {
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
    for (int i = 0; i < 30 && peer.write("x"); ++i) ::usleep(100'000);
  });
  CHECK(harness.get(http_url(server.port(), "/"))->body == std::string(30, 'x'));
}

TEST_CASE("what the server breaks off, or gets wrong, has its code") {
  ClientHarness harness;
  struct Row {
    std::string text;
    Code code;
  };
  for (const Row& row : {
           Row{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Code::closed},
           Row{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Code::closed},
           Row{"", Code::closed},
           Row{"220 mail.example.org ESMTP\r\n", Code::io},
           Row{"HTTP/1.1 200 OK\r\nX: " + std::string(1 << 20, 'x'), Code::headers_too_large},
       }) {
    CAPTURE(row.text.substr(0, 40));
    PeerServer server([&row](Peer& peer) {
      if (peer.read_request()) peer.write(row.text);
    });
    const auto answer = harness.get(http_url(server.port(), "/"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == row.code);
  }
  PeerServer endless([](Peer& peer) {
    const std::string piece(10'000, 'x');
    if (peer.read_request() && peer.write("HTTP/1.1 200 OK\r\n\r\n")) {
      while (peer.write(piece)) {
      }
    }
  });
  CHECK(harness.get(http_url(endless.port(), "/")).error().code == Code::payload_too_large);
}

TEST_CASE("an answer that comes before the request is sent counts") {
  PeerServer server([](Peer& peer) {
    peer.write(response_text("too much", "Connection: close\r\n", "413 Payload Too Large"));
    ::usleep(100'000);
  });
  ClientHarness harness;
  ClientRequest post = ClientHarness::get_request(http_url(server.port(), "/"));
  post.method = Method::post;
  post.body = std::string(32 << 20, 'x');
  const auto answer = harness.fetch(post);
  // A reset may overtake what the server sent.
  if (answer) {
    CHECK(answer->status == 413);
  } else {
    CHECK(answer.error().code == Code::closed);
  }
}

TEST_CASE("a request ends when its token is cancelled, wherever it is") {
  TestServer server;
  ClientHarness harness;
  {
    reactor::Deadline deadline(harness.reactor(), harness.reactor().now_ns() + 50'000'000);
    const auto answer =
        harness.fetch(ClientHarness::get_request(http_url(server.port(), "/wait")), 100, deadline.token());
    CHECK(answer.error().code == Code::cancelled);
    CHECK(deadline.passed());
  }
  CHECK(eventually([&] { return server.cancelled == 1; }));
}

TEST_CASE("nobody listening is told with the address and port") {
  uint16_t port = 0;
  {
    const PeerServer server([](Peer&) {});
    port = server.port();
  }
  ClientHarness harness;
  const auto answer = harness.get(http_url(port, "/"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().message.contains("127.0.0.1 port " + std::to_string(port)));
  CHECK(answer.error().message.contains("refused"));
}

TEST_CASE("public_only refuses what leads to a private address, by whatever name") {
  PeerServer server(answer_numbered);
  ClientHarness harness;
  for (const char* host : {"127.0.0.1", "localhost", "a.localhost", "[::ffff:127.0.0.1]", "[::1]"}) {
    CAPTURE(host);
    ClientRequest request = ClientHarness::get_request(http_url(server.port(), "/", host));
    request.addresses = AddressScope::public_only;
    const auto answer = harness.fetch(request);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::permission_denied);
  }
  // Nor is a connection used that is kept from before.
  REQUIRE(harness.get(http_url(server.port(), "/", "localhost")));
  ClientRequest request = ClientHarness::get_request(http_url(server.port(), "/", "localhost"));
  request.addresses = AddressScope::public_only;
  CHECK(harness.fetch(request).error().code == Code::permission_denied);
}

TEST_CASE("closing waits for the last response and takes no more requests") {
  PeerServer server(answer_numbered);
  ClientHarness harness;
  const std::string url = http_url(server.port(), "/");
  harness.reactor().run([](ClientHarness& own, const std::string& place) -> Task<> {
    auto held = co_await own.client().send(ClientHarness::get_request(place));
    bool closed = false;
    reactor::Scope scope(own.reactor());
    scope.spawn([](Client& client, bool& flag) -> Task<> {
      co_await client.close();
      flag = true;
    }(own.client(), closed));
    (void)co_await reactor::SleepOp::for_ms(own.reactor(), 20);
    CHECK_FALSE(closed);
    const auto late = co_await own.client().fetch(ClientHarness::get_request(place), 100);
    CHECK(late.error().code == Code::shutting_down);
    held = fail(Code::internal, "dropped");
    co_await scope.join();
    CHECK(closed);
  }(harness, url));
}

}  // namespace lambdo::http
