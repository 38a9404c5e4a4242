#include <cstdlib>
#include <ctime>
#include <optional>
#include <string>

#include "base/syscalls.h"
#include "client_harness.h"
#include "http/client/certificate.h"
#include "peer_server.h"
#include "reactor/timer.h"
#include "test_tls.h"

#include "test.h"

namespace lambdo::http {

namespace {

/// One for all tests: making keys takes time.
struct Certificates : TestCertificates {
  Certificates() {
    make_authority("stranger");
    make("good", "DNS:registry.test,DNS:*.wild.test,DNS:localhost");
    make("rsa", "DNS:localhost", "ca", "rsa");
    make("expired", "DNS:localhost", "ca", "ec", -1);
    make("address", "IP:127.0.0.1,IP:::1");
    make("text", "DNS:127.0.0.1");
    make("common-name", "");
    make("unknown", "DNS:localhost", "stranger");
  }
};

const TestCertificates& certificates() {
  static const Certificates instance;
  return instance;
}

ClientSettings settings_for(const std::string& bundle = "ca.pem") {
  ClientSettings settings = test_settings();
  settings.ca_bundle = certificates().path(bundle);
  return settings;
}

std::string https_url(uint16_t port, const std::string& target = "/", const std::string& host = "localhost") {
  return "https://" + host + ":" + std::to_string(port) + target;
}

}  // namespace

TEST_CASE("a server with a good certificate is served over TLS, on one kept connection") {
  for (const char* name : {"good", "rsa"}) {
    CAPTURE(name);
    TlsServer server(certificates(), name);
    ClientHarness harness(settings_for());
    const auto answer = harness.get(https_url(server.port()));
    REQUIRE(answer);
    CHECK(answer->body == "hello");
    CHECK(harness.client().kept_connections() == 1);
    CHECK(harness.get(https_url(server.port(), "/name"))->body == "localhost");
    CHECK(harness.fetch(ClientHarness::get_request(https_url(server.port(), "/big?20000000")), 30'000'000)
              ->body.size() == 20'000'000);
    ClientRequest post = ClientHarness::get_request(https_url(server.port()));
    post.method = Method::post;
    CHECK(harness.fetch(post)->body == "hello");
  }
}

TEST_CASE("all ciphers that are offered work") {
  for (const char* cipher :
       {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}) {
    CAPTURE(cipher);
    TlsServer server(certificates(), "good", {"--most", "1.2", "--ciphers", cipher});
    ClientHarness harness(settings_for());
    CHECK(harness.fetch(ClientHarness::get_request(https_url(server.port(), "/big?300000")))->body ==
          std::string(300'000, 'x'));
  }
}

TEST_CASE("a certificate that is not good is refused, and the error says why and what to do") {
  struct Row {
    const char* certificate;
    const char* host;
    std::vector<const char*> said;
  };
  for (const Row& row : {
           Row{"expired", "localhost", {"expired on 20", "clock"}},
           Row{"good", "127.0.0.1", {"is for registry.test, *.wild.test, localhost", "not for 127.0.0.1"}},
           Row{"address", "localhost", {"is for 127.0.0.1, ::1", "not for localhost"}},
           Row{"text", "127.0.0.1", {"not for 127.0.0.1"}},
           Row{"common-name", "localhost", {"names no host"}},
           Row{"unknown", "localhost", {"CN=stranger", "not trusted", "extra CA file"}},
           Row{"stranger", "localhost", {"not trusted", "names no host"}},
       }) {
    CAPTURE(row.certificate);
    TlsServer server(certificates(), row.certificate);
    ClientHarness harness(settings_for());
    const auto answer = harness.get(https_url(server.port(), "/", row.host));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::tls_failed);
    CAPTURE(answer.error().message);
    for (const char* said : row.said) CHECK(answer.error().message.contains(said));
  }
}

TEST_CASE("an address is a name where the certificate says so, and is not sent as a server name") {
  TlsServer server(certificates(), "address");
  ClientHarness harness(settings_for());
  CHECK(harness.get(https_url(server.port(), "/name", "127.0.0.1"))->body == "none");
}

TEST_CASE("extra CA files and SSL_CERT_FILE are trusted, and a missing file is named") {
  TlsServer server(certificates(), "unknown");
  ClientSettings settings = settings_for();
  settings.extra_ca_files = {certificates().path("stranger.pem")};
  CHECK(ClientHarness(settings).get(https_url(server.port())));

  settings = test_settings();
  ::setenv("SSL_CERT_FILE", certificates().path("stranger.pem").c_str(), 1);
  CHECK(ClientHarness(settings).get(https_url(server.port())));
  ::unsetenv("SSL_CERT_FILE");

  for (const char* file : {"none.pem", "good.key"}) {
    const auto answer = ClientHarness(settings_for(file)).get(https_url(server.port()));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::tls_failed);
    CHECK(answer.error().message.contains(file));
  }
}

TEST_CASE("the system's own certificates can be read") {
  TlsServer server(certificates(), "unknown");
  ClientHarness harness(test_settings());
  const auto answer = harness.get(https_url(server.port()));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().message.contains("CN=stranger"));
}

TEST_CASE("servers that do not speak TLS 1.2, or no TLS at all, are told apart") {
  ClientHarness harness(settings_for());
  TlsServer new_only(certificates(), "good", {"--least", "1.3"});
  auto answer = harness.get(https_url(new_only.port()));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::tls_failed);
  CHECK(answer.error().message.contains("TLS 1.2"));
  PeerServer plain([](Peer& peer) { peer.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"); });
  answer = harness.get(https_url(plain.port()));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::tls_failed);
  CHECK(answer.error().message.contains("not TLS"));
  PeerServer gone([](Peer&) {});
  CHECK(harness.get(https_url(gone.port())).error().code == Code::closed);
}

TEST_CASE("a body that ends with its connection must end with close_notify") {
  TlsServer server(certificates(), "good");
  ClientHarness harness(settings_for());
  CHECK(harness.get(https_url(server.port(), "/to-end"))->body == "hello");
  const auto answer = harness.get(https_url(server.port(), "/cut"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::closed);
  CHECK(answer.error().message.contains("close_notify"));
}

TEST_CASE("TLS works however its bytes are cut, and tells damage from the end of a connection") {
  TlsServer server(certificates(), "good");
  struct Row {
    Peer::Relay relay;
    const char* target;
    std::optional<Code> code;
  };
  for (const Row& row : {
           Row{Peer::Relay::bytewise, "/", std::nullopt},
           Row{Peer::Relay::as_they_are, "/big?900000", std::nullopt},
           Row{Peer::Relay::damaged, "/big?900000", Code::tls_failed},
           Row{Peer::Relay::broken_off, "/big?900000", Code::closed},
       }) {
    CAPTURE(row.target);
    PeerServer relay([&](Peer& peer) { peer.relay_to(server.port(), row.relay); });
    ClientHarness harness(settings_for());
    const auto answer = harness.get(https_url(relay.port(), row.target));
    CHECK(answer.has_value() == !row.code);
    if (!answer) {
      CAPTURE(answer.error().message);
      CHECK(answer.error().code == row.code);
    }
  }
}

TEST_CASE("a handshake that gets stuck ends at its time limit") {
  PeerServer silent([](Peer& peer) { peer.ended(); });
  ClientSettings settings = settings_for();
  settings.timeouts.tls_ms = 50;
  ClientHarness harness(settings);
  const auto answer = harness.get(https_url(silent.port()));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::timeout);
  CHECK(answer.error().message.contains("TLS handshake"));
}

namespace {

/// Reads a body that has come already, and counts the loop's turns meanwhile.
Task<Result<uint64_t>> turns_to_read(reactor::Reactor& reactor, Client& client, std::string url,
                                     size_t len_bytes) {
  auto response = CO_TRY(co_await client.send(ClientHarness::get_request(url)));
  CO_TRY(co_await reactor::SleepOp::for_ms(reactor, 1500));
  const uint64_t before = reactor.statistics().turns;
  const std::string body = CO_TRY(co_await response.read_all(len_bytes));
  if (body.size() != len_bytes) co_return fail(Code::internal, "the body is not whole");
  co_return reactor.statistics().turns - before;
}

}  // namespace

TEST_CASE("however small the records are, the loop gets its turn after some dozens") {
  TlsServer server(certificates(), "good", {"--most", "1.2"});
  ClientHarness harness(settings_for());
  constexpr size_t kRecords = 2000;
  const std::string url = https_url(server.port(), "/tiny?" + std::to_string(kRecords));
  const auto turns = harness.reactor().run(turns_to_read(harness.reactor(), harness.client(), url, kRecords));
  REQUIRE_MESSAGE(turns, turns.error().message);
  CAPTURE(*turns);
  CHECK(*turns >= kRecords / 64);
}

TEST_CASE("handshakes are computed beside the loop") {
  const auto cpu_us = [](clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return now.tv_sec * 1'000'000 + now.tv_nsec / 1000;
  };
  TlsServer server(certificates(), "good");
  ClientSettings settings = settings_for();
  settings.timeouts.kept_connection_ms = 0;
  ClientHarness harness(settings);
  REQUIRE(harness.get(https_url(server.port())));
  const auto loop_before = cpu_us(CLOCK_THREAD_CPUTIME_ID);
  const auto all_before = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
  constexpr int kHandshakes = 10;
  for (int i = 0; i < kHandshakes; ++i) REQUIRE(harness.get(https_url(server.port())));
  const auto loop_us = (cpu_us(CLOCK_THREAD_CPUTIME_ID) - loop_before) / kHandshakes;
  const auto all_us = (cpu_us(CLOCK_PROCESS_CPUTIME_ID) - all_before) / kHandshakes;
  MESSAGE("a handshake and a request take " << all_us << " us of computing, of these the loop " << loop_us);
  CHECK(loop_us * 4 < all_us);
}

TEST_CASE("names of certificates stand for hosts as RFC 9525 says") {
  CHECK(name_matches("a.test", "A.Test"));
  CHECK(name_matches("*.a.test", "b.a.test"));
  CHECK_FALSE(name_matches("*.a.test", "a.test"));
  CHECK_FALSE(name_matches("*.a.test", "c.b.a.test"));
  CHECK_FALSE(name_matches("*.a.test", ".a.test"));
  CHECK_FALSE(name_matches("*.test", "a.test"));
  CHECK_FALSE(name_matches("b*.a.test", "bc.a.test"));
  CHECK_FALSE(name_matches("*", "a"));
  CHECK_FALSE(name_matches("a.test", "a.test.evil"));
  CHECK_FALSE(name_matches("", ""));
}

}  // namespace lambdo::http
