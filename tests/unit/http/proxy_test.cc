#include "http/client/proxy.h"

#include <map>
#include <string>

#include "client_harness.h"
#include "peer_server.h"
#include "test_tls.h"

#include "test.h"

namespace lambdo::http {

namespace {

using Environment = std::map<std::string, std::string>;

ProxySettings settings_from(const Environment& environment) {
  return ProxySettings::from([&environment](const char* name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  });
}

/// Speaks the part of a proxy: for CONNECT a tunnel to the port of this machine that was asked for, whatever
/// the host's name; for other requests an answer that shows the request.
void be_proxy(Peer& peer, PeerServer& server) {
  while (auto request = peer.read_request()) {
    server.record(*request);
    if (!request->starts_with("CONNECT ")) {
      peer.write(response_text(*request));
      continue;
    }
    const size_t target_end = request->find(" HTTP/");
    const size_t colon = request->rfind(':', target_end);
    const auto port = static_cast<uint16_t>(std::stoi(request->substr(colon + 1, target_end - colon - 1)));
    peer.write("HTTP/1.1 200 Connection established\r\nContent-Length: 7\r\n\r\n");
    peer.relay_to(port);
    return;
  }
}

}  // namespace

TEST_CASE("proxies come from the environment, lower case first") {
  CHECK(settings_from({}).http.empty());
  CHECK(settings_from({{"HTTP_PROXY", "a"}}).http == "a");
  CHECK(settings_from({{"HTTP_PROXY", "a"}, {"http_proxy", "b"}}).http == "b");
  CHECK(settings_from({{"HTTP_PROXY", "a"}, {"http_proxy", ""}}).http.empty());
  CHECK(settings_from({{"HTTP_PROXY", "a"}, {"REQUEST_METHOD", "GET"}}).http.empty());
  CHECK(settings_from({{"http_proxy", "b"}, {"REQUEST_METHOD", "GET"}}).http == "b");
  CHECK(settings_from({{"HTTPS_PROXY", "a"}, {"REQUEST_METHOD", "GET"}}).https == "a");
  CHECK(settings_from({{"NO_PROXY", "a"}, {"no_proxy", "b"}}).exempt == "b");
}

TEST_CASE("proxies are taken apart, and what is none is refused without its password") {
  struct Row {
    const char* text;
    const char* scheme;
    const char* host;
    int port;
    const char* authorization;
  };
  for (const Row& row : {
           Row{"proxy:3128", "http", "proxy", 3128, ""},
           Row{"http://proxy", "http", "proxy", 80, ""},
           Row{"https://Proxy:8443/", "https", "proxy", 8443, ""},
           Row{"http://[::1]:8080", "http", "::1", 8080, ""},
           Row{"http://Aladdin:open%20sesame@proxy:1", "http", "proxy", 1,
               "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
           Row{"user@proxy:1", "http", "proxy", 1, "Basic dXNlcjo="},
           Row{"http://a:b@c@proxy:1", "http", "proxy", 1, "Basic YTpiQGM="},
       }) {
    CAPTURE(row.text);
    const auto proxy = Proxy::parse(row.text);
    REQUIRE(proxy);
    CHECK(proxy->scheme == row.scheme);
    CHECK(proxy->host == row.host);
    CHECK(proxy->port == row.port);
    CHECK(proxy->authorization == row.authorization);
  }
  for (const char* text :
       {"socks5://u:secret@proxy:1", "http://u:secret@", "http://u:secret%zz@proxy",
        "http://u:secret%0d%0aX@proxy", "http://u:secret@proxy:x", "http://u:secret", "u:secret",
        "http://u:secret/x@proxy", "http://u:secret#x@proxy:1", "http://u:1?secret@proxy:1",
        "http://u:1/secret@proxy", "u:secret/ x", "ftp:u:secret@"}) {
    CAPTURE(text);
    const auto proxy = Proxy::parse(text);
    REQUIRE_FALSE(proxy);
    CHECK(proxy.error().code == Code::invalid_argument);
    CHECK_FALSE(proxy.error().message.contains("secret"));
    CHECK(proxy.error().message.contains("write http://host:port"));
  }
}

TEST_CASE("a proxy that cannot be used fails only what needs it, and the variable is named") {
  PeerServer server([](Peer& peer) {
    while (peer.read_request()) peer.write(response_text("direct"));
  });
  for (const char* variable : {"HTTPS_PROXY", "https_proxy"}) {
    CAPTURE(variable);
    ClientSettings settings = test_settings();
    settings.proxies = settings_from({{variable, "http://u:secret/x@proxy:1"}, {"NO_PROXY", "exempt.test"}});
    ClientHarness harness(settings);
    // By http, to a host that is exempt, and to this machine.
    CHECK(harness.get(http_url(server.port(), "/"))->body == "direct");
    CHECK(harness.get("http://other.test/").error().code == Code::name_unresolved);
    CHECK(harness.get("https://exempt.test/").error().code == Code::name_unresolved);
    const auto answer = harness.get("https://other.test/");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Code::invalid_argument);
    CAPTURE(answer.error().message);
    CHECK(answer.error().message.starts_with(std::string(variable) + ": "));
    CHECK(answer.error().message.contains("%2F for /"));
    CHECK(answer.error().message.contains("name other.test in NO_PROXY"));
    CHECK_FALSE(answer.error().message.contains("secret"));
  }
}

TEST_CASE("the exempt list decides what goes directly") {
  struct Row {
    const char* list;
    const char* url;
    bool direct;
  };
  for (const Row& row : {
           Row{"", "http://a.test/", false},
           Row{"", "http://localhost/", true},
           Row{"", "http://a.localhost/", true},
           Row{"", "http://127.1.2.3/", true},
           Row{"", "http://[::1]/", true},
           Row{"", "http://10.0.0.1/", false},
           Row{"*", "http://a.test/", true},
           Row{"a.test", "http://a.test/", true},
           Row{"a.test", "http://A.TEST./", true},
           Row{"A.Test", "http://b.a.test/", true},
           Row{"a.test", "http://ba.test/", false},
           Row{".a.test", "http://a.test/", false},
           Row{".a.test", "http://b.a.test/", true},
           Row{"*.a.test", "http://b.a.test/", true},
           Row{"*.a.test", "http://a.test/", false},
           Row{"x, a.test:8080 ,y", "http://a.test:8080/", true},
           Row{"a.test:8080", "http://a.test/", false},
           Row{"a.test:80", "http://a.test/", true},
           Row{"10.0.0.0/8", "http://10.255.0.1/", true},
           Row{"10.0.0.0/8", "http://11.0.0.1/", false},
           Row{"10.0.0.0/8", "http://10.a.test/", false},
           Row{"10.1.0.0/15", "http://10.0.9.9/", true},
           Row{"fd00::/8", "http://[fd12::1]/", true},
           Row{"fd00::/8", "http://[fe80::1]/", false},
           Row{"10.0.0.1", "http://10.0.0.1:99/", true},
           Row{"10.0.0.1:99", "http://10.0.0.1:98/", false},
           Row{"::2", "http://[::2]/", true},
           Row{"[::2]:80", "http://[::2]/", true},
           Row{"10.0.0.0/33,/8,x/8,:80,a:0", "http://10.0.0.1/", false},
       }) {
    CAPTURE(row.list);
    CAPTURE(row.url);
    const ProxyRules rules({"http://proxy:1", "http://proxy:2", row.list});
    const auto url = Url::parse(row.url);
    REQUIRE(url);
    CHECK((rules.choose(*url).value() == nullptr) == row.direct);
  }
}

TEST_CASE("http goes to the proxy as a whole URL, with the proxy's credentials, and keeps its connection") {
  PeerServer proxy([&proxy](Peer& peer) { be_proxy(peer, proxy); });
  ClientSettings settings = test_settings();
  settings.proxies.http = "http://u:p@127.0.0.1:" + std::to_string(proxy.port());
  settings.proxies.exempt = "direct.test";
  ClientHarness harness(settings);
  const auto answer = harness.get("http://far.test/a?b");
  REQUIRE(answer);
  CHECK(answer->body.starts_with("GET http://far.test/a?b HTTP/1.1\r\nHost: far.test\r\n"));
  CHECK(answer->body.contains("Proxy-Authorization: Basic dTpw\r\n"));
  CHECK_FALSE(answer->peer_is_private);
  REQUIRE(harness.get("http://far.test:81/"));
  REQUIRE(harness.get("http://far.test/"));
  CHECK(proxy.connections() == 2);
  CHECK(harness.get("http://direct.test/").error().code == Code::name_unresolved);
}

TEST_CASE("https goes through a tunnel, in which the proxy's credentials are not sent") {
  TestCertificates certificates;
  certificates.make("far", "DNS:far.test");
  TlsServer server(certificates, "far");
  PeerServer proxy([&proxy](Peer& peer) { be_proxy(peer, proxy); });
  ClientSettings settings = test_settings();
  settings.ca_bundle = certificates.path("ca.pem");
  settings.proxies.https = "http://u:p@127.0.0.1:" + std::to_string(proxy.port());
  ClientHarness harness(settings);
  const std::string place = "far.test:" + std::to_string(server.port());
  for (int i = 0; i < 2; ++i) {
    const auto answer = harness.get("https://" + place + "/head");
    REQUIRE(answer);
    CHECK_FALSE(answer->body.contains("Proxy"));
    CHECK_FALSE(answer->body.contains("dTpw"));
  }
  REQUIRE(proxy.recorded().size() == 1);
  CHECK(proxy.recorded()[0] == "CONNECT " + place + " HTTP/1.1\r\nHost: " + place +
                                   "\r\nProxy-Authorization: Basic dTpw\r\nUser-Agent: lambdo\r\n\r\n");
}

TEST_CASE("a proxy that refuses, lies or is silent is told from the server behind it") {
  struct Row {
    std::string answer;
    Code code;
    const char* said;
  };
  for (const Row& row : {
           Row{"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", Code::unauthorized,
               "user name and password"},
           Row{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", Code::io, "status 403"},
           Row{"HTTP/1.1 200 OK\r\n\r\nsurplus", Code::io, "before the tunnel"},
           Row{"SSH-2.0-x\r\n", Code::io, "not HTTP"},
           Row{"HTTP/1.1 2", Code::closed, "proxy"},
           Row{"", Code::closed, "proxy"},
       }) {
    CAPTURE(row.answer);
    PeerServer proxy([&row](Peer& peer) {
      peer.read_request();
      peer.write(row.answer);
    });
    ClientSettings settings = test_settings();
    settings.proxies.https = "127.0.0.1:" + std::to_string(proxy.port());
    ClientHarness harness(settings);
    const auto answer = harness.get("https://far.test/");
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == row.code);
    CAPTURE(answer.error().message);
    CHECK(answer.error().message.contains(row.said));
  }
}

TEST_CASE("through a proxy, a redirect from a name to a private address is refused") {
  PeerServer proxy([](Peer& peer) {
    while (auto request = peer.read_request()) {
      peer.write(response_text("", "Location: http://10.0.0.1/\r\n", "302 Found"));
    }
  });
  ClientSettings settings = test_settings();
  settings.proxies.http = "127.0.0.1:" + std::to_string(proxy.port());
  ClientHarness harness(settings);
  const auto answer = harness.get("http://far.test/");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Code::redirect_refused);
  CHECK(answer.error().message.contains("10.0.0.1"));
}

}  // namespace lambdo::http
