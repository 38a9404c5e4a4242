#include "http/client/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "client_harness.h"
#include "http/client/connect_any.h"
#include "peer_server.h"

#include "test.h"

namespace lambdo::http {

namespace {

/// A name server on UDP (RFC 1035) that knows some names, and refuses or ignores others.
class NameServer {
 public:
  NameServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len_bytes = sizeof place;
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&place), len_bytes) == 0);
    REQUIRE(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&place), &len_bytes) == 0);
    port_ = ntohs(place.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;
  ~NameServer() {
    stopping_ = true;
    thread_.join();
  }

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] int asked() const { return asked_; }

 private:
  void serve() {
    std::array<char, 512> packet{};
    while (!stopping_) {
      pollfd entry{socket_.get(), POLLIN, 0};
      if (::poll(&entry, 1, 20) != 1) continue;
      sockaddr_in from{};
      socklen_t len_bytes = sizeof from;
      const ssize_t count = ::recvfrom(socket_.get(), packet.data(), packet.size(), 0,
                                       reinterpret_cast<sockaddr*>(&from), &len_bytes);
      if (count < 17) continue;
      ++asked_;
      const std::string reply = answer(std::string(packet.data(), static_cast<size_t>(count)));
      if (reply.empty()) continue;
      ::sendto(socket_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), len_bytes);
    }
  }

  static std::string answer(const std::string& query) {
    std::string name;
    size_t at = 12;
    while (query[at] != 0) {
      const auto len = static_cast<size_t>(query[at]);
      name += (name.empty() ? "" : ".") + query.substr(at + 1, len);
      at += len + 1;
    }
    const char type = query[at + 2];
    const std::string question = query.substr(12, at + 5 - 12);
    static const std::map<std::string, std::vector<std::string>> kKnown = {
        {"four.test", {"127.0.0.1"}}, {"both.test", {"127.0.0.1", "::1"}},     {"six.test", {"::1"}},
        {"inner.test", {"10.0.0.1"}}, {"mixed.test", {"10.0.0.1", "9.9.9.9"}},
    };
    if (name == "silent.test") return "";
    const auto known = kKnown.find(name);
    std::string records;
    char answers = 0;
    if (known != kKnown.end()) {
      for (const std::string& text : known->second) {
        const IpAddress address = *IpAddress::parse(text);
        if (address.is_ipv6() == (type == 1)) continue;
        // A pointer to the name, type, class IN, 60 s, length, address.
        records += std::string("\xc0\x0c\0", 3) + type + std::string("\0\1\0\0\0\x3c\0", 7) +
                   static_cast<char>(address.bytes().size()) + std::string(address.bytes());
        ++answers;
      }
    }
    char status = known == kKnown.end() ? 3 : 0;
    if (name == "broken.test") status = 2;
    return query.substr(0, 2) + "\x81" + static_cast<char>(0x80 | status) + std::string("\0\1\0", 3) +
           answers + std::string("\0\0\0\0", 4) + question + records;
  }

  Fd socket_;
  uint16_t port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> asked_ = 0;
  std::thread thread_;
};

using Addresses = Result<std::vector<IpAddress>>;

Addresses resolve(ResolverSettings settings, const std::string& host, CancelToken token = {}) {
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  reactor::BlockingPool pool(**reactor, 1);
  Resolver resolver(**reactor, pool, std::move(settings));
  return (*reactor)->run(resolver.resolve(host, token));
}

std::vector<std::string> texts(const Addresses& addresses) {
  std::vector<std::string> out;
  if (!addresses) return {addresses.error().message};
  for (const IpAddress& address : *addresses) out.push_back(address.text());
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("addresses and localhost need no name server") {
  const ResolverSettings settings{"127.0.0.1:1", "/nonexistent"};
  CHECK(texts(resolve(settings, "10.1.2.3")) == Texts{"10.1.2.3"});
  CHECK(texts(resolve(settings, "fd00::1")) == Texts{"fd00::1"});
  for (const char* host : {"localhost", "localhost.", "a.b.localhost"}) {
    CHECK(texts(resolve(settings, host)) == Texts{"127.0.0.1", "::1"});
  }
}

TEST_CASE("names are looked up in the hosts file, then asked for") {
  const NameServer server;
  const std::string hosts = "/tmp/lambdo-hosts-" + std::to_string(::getpid());
  std::ofstream(hosts) << "# comment\n10.9.8.7\tFirst.test alias.test # four.test\nnone bad.test\n"
                          "fd00::5 first.test\r\n10.9.8.7 first.test\n";
  const ResolverSettings settings{server.address(), hosts};
  CHECK(texts(resolve(settings, "first.test")) == Texts{"10.9.8.7", "fd00::5"});
  CHECK(texts(resolve(settings, "alias.test.")) == Texts{"10.9.8.7"});
  CHECK(server.asked() == 0);
  CHECK(texts(resolve(settings, "four.test")) == Texts{"127.0.0.1"});
  CHECK(texts(resolve(settings, "six.test")) == Texts{"::1"});
  CHECK(texts(resolve(settings, "both.test")).size() == 2);
  CHECK(server.asked() >= 6);
  ::unlink(hosts.c_str());
}

TEST_CASE("a name that leads nowhere is told with its remedy") {
  const NameServer server;
  const ResolverSettings settings{server.address(), "/nonexistent"};
  for (const char* host : {"none.test", "broken.test", "bad name", "a..b", "-", "a\nb", "", "a/b"}) {
    CAPTURE(host);
    const auto addresses = resolve(settings, host);
    REQUIRE_FALSE(addresses);
    CHECK(addresses.error().code == Code::name_unresolved);
  }
  CHECK(resolve(settings, "none.test").error().message.contains("none.test"));
  CHECK(resolve(settings, "none.test").error().message.contains("spelling"));
  const auto nobody = resolve({"127.0.0.1:1", "/nonexistent"}, "four.test");
  REQUIRE_FALSE(nobody);
  CHECK(nobody.error().code == Code::name_unresolved);
  CHECK(nobody.error().message.contains("no name server answers"));
  CHECK(resolve({"nonsense", "/nonexistent"}, "four.test").error().code == Code::name_unresolved);
}

TEST_CASE("a client connects by name, and a name server that is silent has its time limit") {
  const NameServer names;
  PeerServer server([](Peer& peer) {
    if (auto request = peer.read_request()) peer.write(response_text(*request));
  });
  ClientSettings settings = test_settings();
  settings.name_servers = names.address();
  settings.timeouts.name_ms = 100;
  ClientHarness harness(settings);
  const auto answer = harness.get(http_url(server.port(), "/", "four.test"));
  REQUIRE(answer);
  CHECK(answer->body.contains("Host: four.test:" + std::to_string(server.port())));
  // Only 127.0.0.1 listens: the other address does not matter.
  CHECK(harness.get(http_url(server.port(), "/", "both.test")));
  const auto silent = harness.get("http://silent.test/");
  REQUIRE_FALSE(silent);
  CHECK(silent.error().code == Code::timeout);
  CHECK(silent.error().message.contains("silent.test"));
  ClientRequest inner = ClientHarness::get_request("http://inner.test/");
  inner.addresses = AddressScope::public_only;
  CHECK(harness.fetch(inner).error().code == Code::permission_denied);
}

TEST_CASE("address families take turns") {
  const auto addresses = [](const Texts& from) {
    std::vector<IpAddress> out;
    for (const std::string& text : from) out.push_back(*IpAddress::parse(text));
    return out;
  };
  CHECK(texts(interleaved(addresses({"::1", "::2", "::3", "1.1.1.1"}))) ==
        Texts{"::1", "1.1.1.1", "::2", "::3"});
  CHECK(texts(interleaved(addresses({"1.1.1.1", "1.1.1.2", "::1", "::2"}))) ==
        Texts{"1.1.1.1", "::1", "1.1.1.2", "::2"});
}

TEST_CASE("an address that keeps silent does not hold the next one up") {
  // A listener whose queue is full: the kernel drops what comes then.
  Fd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  PeerServer server([](Peer& peer) { peer.ended(); });
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = htons(server.port());
  REQUIRE(::inet_pton(AF_INET, "127.0.0.9", &place.sin_addr) == 1);
  REQUIRE(::bind(full.get(), reinterpret_cast<sockaddr*>(&place), sizeof place) == 0);
  REQUIRE(::listen(full.get(), 0) == 0);
  std::vector<Fd> fillers;
  for (int i = 0; i < 3; ++i) {
    fillers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    (void)::connect(fillers.back().get(), reinterpret_cast<sockaddr*>(&place), sizeof place);
  }
  auto reactor = reactor::Reactor::create();
  REQUIRE(reactor);
  const auto connected = (*reactor)->run(connect_any(
      **reactor, {*IpAddress::parse("127.0.0.9"), *IpAddress::parse("127.0.0.1")}, server.port(), {}));
  REQUIRE(connected);
  CHECK(connected->peer.text() == "127.0.0.1");
  CHECK((*reactor)->in_flight() == 0);
}

}  // namespace lambdo::http
