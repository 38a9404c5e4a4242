#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "client_harness.h"
#include "peer_server.h"

#include "test.h"

namespace lambdo::http {

namespace {

std::string redirect_to(const std::string& location, const std::string& status = "302 Found") {
  return response_text("elsewhere", "Location: " + location + "\r\n", status);
}

std::string target_of(const std::string& request) {
  return request.substr(request.find(' ') + 1, request.find(" HTTP/") - request.find(' ') - 1);
}

/// Answers by the requests' targets: "/to?URL" redirects there, with # for ~, "/count?N" to N - 1 down to 0,
/// others with what they are.
void answer(Peer& peer) {
  while (auto request = peer.read_request()) {
    const std::string target = target_of(*request);
    if (target.starts_with("/to?")) {
      std::string location = target.substr(4);
      std::ranges::replace(location, '~', '#');
      peer.write(redirect_to(location));
    } else if (target.starts_with("/count?") && target != "/count?0") {
      peer.write(redirect_to("/count?" + std::to_string(std::stoi(target.substr(7)) - 1)));
    } else {
      peer.write(response_text(*request));
    }
  }
}

}  // namespace

TEST_CASE("redirects are followed for GET and HEAD, and the response says where it came from") {
  PeerServer server(answer);
  ClientHarness harness;
  auto got = harness.get(http_url(server.port(), "/to?/a/../b?c~d"));
  REQUIRE(got);
  CHECK(target_of(got->body) == "/b?c");
  CHECK(got->url.target == "/b?c");
  // All on one connection.
  CHECK(server.connections() == 1);

  ClientRequest request = ClientHarness::get_request(http_url(server.port(), "/to?/b"));
  request.method = Method::head;
  CHECK(harness.fetch(request)->status == 200);
  request.method = Method::post;
  CHECK(harness.fetch(request)->status == 302);
  request.method = Method::get;
  request.follow_redirects = false;
  const auto unfollowed = harness.fetch(request);
  CHECK(unfollowed->status == 302);
  CHECK(unfollowed->body == "elsewhere");
}

TEST_CASE("every redirecting status is followed, and only with a Location") {
  for (const char* status : {"301 a", "302 a", "303 a", "307 a", "308 a"}) {
    PeerServer server([status](Peer& peer) {
      peer.read_request();
      peer.write(redirect_to("/there", status));
      answer(peer);
    });
    ClientHarness harness;
    CHECK(harness.get(http_url(server.port(), "/"))->url.target == "/there");
  }
  for (const std::string& text :
       {redirect_to("/there", "300 a"), redirect_to("/there", "200 a"), response_text("", "", "302 a")}) {
    PeerServer server([&text](Peer& peer) {
      while (peer.read_request()) peer.write(text);
    });
    ClientHarness harness;
    CHECK(harness.get(http_url(server.port(), "/"))->url.target == "/");
    CHECK(server.connections() == 1);
  }
}

TEST_CASE("redirects that loop, are too many, or lead nowhere are refused") {
  PeerServer server(answer);
  ClientHarness harness;
  CHECK(harness.get(http_url(server.port(), "/count?10")));
  const auto many = harness.get(http_url(server.port(), "/count?11"));
  REQUIRE_FALSE(many);
  CHECK(many.error().code == Code::redirect_refused);
  CHECK(many.error().message.contains("after 10 redirects"));
  for (const char* location : {"ftp://a/", "http://user:password@a/", "http://:1/", "http://a b/", "/\xff",
                               "http://a/?x y", "", "//", "http://a:99999/"}) {
    CAPTURE(location);
    PeerServer nowhere([location](Peer& peer) {
      peer.read_request();
      peer.write(redirect_to(location));
    });
    const auto got = harness.get(http_url(nowhere.port(), "/"));
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Code::redirect_refused);
    CHECK_FALSE(got.error().message.contains("password"));
  }
  PeerServer loop([](Peer& peer) {
    while (auto request = peer.read_request()) {
      peer.write(redirect_to(target_of(*request) == "/a" ? "/b" : "/a"));
    }
  });
  const auto got = harness.get(http_url(loop.port(), "/a"));
  REQUIRE_FALSE(got);
  CHECK(got.error().code == Code::redirect_refused);
  CHECK(got.error().message.contains("loop"));
}

TEST_CASE("credentials go on to the same host and port only, and never come back") {
  PeerServer other(answer);
  PeerServer server(answer);
  ClientHarness harness;
  const auto ask = [&](const std::string& target) {
    ClientRequest request = ClientHarness::get_request(http_url(server.port(), target));
    request.headers = {{"authorization", "Bearer secret"},
                       {"Cookie", "secret"},
                       {"Proxy-Authorization", "secret"},
                       {"Accept", "kept"}};
    return harness.fetch(request)->body;
  };
  const std::string same = ask("/to?/x");
  CHECK(same.contains("authorization: Bearer secret"));
  CHECK(same.contains("Cookie: secret"));
  for (const std::string& elsewhere :
       {http_url(other.port(), "/x"), http_url(server.port(), "/x", "localhost"),
        http_url(other.port(), "/to?" + http_url(server.port(), "/x"))}) {
    const std::string request = ask("/to?" + elsewhere);
    CAPTURE(request);
    CHECK(target_of(request) == "/x");
    CHECK_FALSE(request.contains("secret"));
    CHECK(request.contains("Accept: kept"));
  }
}

/// Runs in a network namespace of its own, where an address of the Internet can be had.
static void redirect_from_public_address() {
  PeerServer inner(answer);
  PeerServer outer(answer, "9.9.9.9");
  ClientHarness harness;
  CHECK_FALSE(harness.get(http_url(outer.port(), "/", "9.9.9.9"))->peer_is_private);
  for (const char* host : {"127.0.0.1", "localhost", "inner.test"}) {
    CAPTURE(host);
    const auto got =
        harness.get(http_url(outer.port(), "/to?" + http_url(inner.port(), "/", host), "9.9.9.9"));
    REQUIRE_FALSE(got);
    CHECK((got.error().code == Code::redirect_refused || got.error().code == Code::name_unresolved));
  }
  CHECK(inner.connections() == 0);
  CHECK(harness.get(http_url(inner.port(), "/to?" + http_url(outer.port(), "/x", "9.9.9.9")))->url.host ==
        "9.9.9.9");
  // Public in between does not matter, nor does public at the end.
  CHECK(harness
            .get(http_url(inner.port(),
                          "/to?" + http_url(outer.port(), "/to?" + http_url(inner.port(), "/x"), "9.9.9.9")))
            ->url.target == "/x");
}

TEST_CASE("a redirect from a public address never leads to a private one") {
  bool has_namespace = false;
  std::thread([&has_namespace] {
    if (::unshare(CLONE_NEWNET) < 0) return;
    has_namespace = std::system("ip link set lo up && ip addr add 9.9.9.9/32 dev lo") == 0;
    if (has_namespace) redirect_from_public_address();
  }).join();
  if (!has_namespace) MESSAGE("SKIPPED: no network namespace could be made; run as root with iproute2");
}

}  // namespace lambdo::http
