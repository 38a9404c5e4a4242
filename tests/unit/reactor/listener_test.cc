#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <cerrno>
#include <set>

#include "harness.h"
#include "reactor/listener.h"
#include "reactor/operations.h"
#include "reactor/scope.h"

#include "test.h"

namespace lambdo::reactor {

/// Raises the soft limit on descriptors for a burst, and puts it back.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t soft) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    set(soft);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  void set(rlim_t soft) const {
    const rlimit limit{.rlim_cur = std::min(soft, before_.rlim_max), .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }

 private:
  rlimit before_{};
};

static Task<> connect_and_tell(Reactor& reactor, uint16_t port, int number, std::vector<Fd>& clients) {
  Fd client = (co_await connect_tcp(reactor, "127.0.0.1", port)).value();
  CHECK_EQ((co_await SendOp(reactor, client.get(), std::as_bytes(std::span(&number, 1)))).value(),
           sizeof number);
  clients.push_back(std::move(client));
}

/// The next connection, however often there is no descriptor for it at first.
static Task<Fd> accept_patiently(Listener& listener) {
  while (true) {
    auto accepted = co_await listener.accept({});
    if (accepted) co_return std::move(*accepted);
    CHECK_EQ(accepted.error().code, Code::resource_exhausted);
  }
}

static Task<> accept_and_hear(Reactor& reactor, Listener& listener, size_t count, std::set<int>& heard) {
  for (size_t i = 0; i < count; ++i) {
    SocketStream stream(reactor, co_await accept_patiently(listener));
    int number = -1;
    size_t filled = 0;
    while (filled < sizeof number) {
      const Chunk chunk = (co_await stream.receive({})).value();
      if (chunk.empty()) break;
      std::ranges::copy(chunk.bytes(), std::as_writable_bytes(std::span(&number, 1)).begin() + filled);
      filled += chunk.bytes().size();
    }
    heard.insert(number);
  }
}

static Task<> burst(Reactor& reactor, int count, bool clients_first) {
  Listener listener = Listener::listen_tcp(reactor, "127.0.0.1", 0, count).value();
  std::vector<Fd> clients;
  std::set<int> heard;
  Scope scope(reactor);
  for (int i = 0; i < count; ++i) scope.spawn(connect_and_tell(reactor, listener.port(), i, clients));
  if (clients_first) co_await scope.join();
  scope.spawn(accept_and_hear(reactor, listener, static_cast<size_t>(count), heard));
  co_await scope.join();
  CHECK_EQ(heard.size(), static_cast<size_t>(count));
  CHECK_EQ(*heard.begin(), 0);
  CHECK_EQ(*heard.rbegin(), count - 1);
  co_await listener.close();
}

TEST_CASE("a burst of 2,000 connections is accepted without losing one") {
  const DescriptorLimit limit(10'000);
  for (const Configuration& configuration : kConfigurations) {
    for (const bool clients_first : {true, false}) {
      CAPTURE(configuration.name);
      CAPTURE(clients_first);
      auto reactor = make_reactor(configuration.options);
      reactor->run(burst(*reactor, 2000, clients_first));
      CHECK_EQ(reactor->in_flight(), 0U);
      CHECK_EQ(reactor->buffers().lent(), 0U);
    }
  }
}

static Task<> note_accept(Listener& listener, CancelToken token, Result<Fd>& accepted) {
  accepted = co_await listener.accept(token);
}

static Task<> cancel_and_go_on(Reactor& reactor) {
  Listener listener = Listener::listen_tcp(reactor, "127.0.0.1", 0).value();
  for (int round = 0; round < 20; ++round) {
    CancelSource source;
    Scope scope(reactor);
    Result<Fd> accepted = fail(Code::internal, "untouched");
    scope.spawn(note_accept(listener, source.token(), accepted));
    co_await let_run(reactor, 2);
    source.cancel();
    co_await scope.join();
    CHECK_EQ(accepted.error().code, Code::cancelled);
    // A multishot accept stays armed: what comes now is kept for the next caller.
    std::vector<Fd> clients;
    std::set<int> heard;
    for (int i = 0; i < 10; ++i) co_await connect_and_tell(reactor, listener.port(), i, clients);
    co_await accept_and_hear(reactor, listener, 10, heard);
    CHECK_EQ(heard.size(), 10U);
  }
  co_await listener.close();
}

static Task<> nobody_accepts(Reactor& reactor) {
  Listener listener = Listener::listen_tcp(reactor, "127.0.0.1", 0).value();
  std::vector<Fd> clients;
  std::set<int> heard;
  co_await connect_and_tell(reactor, listener.port(), 0, clients);
  co_await accept_and_hear(reactor, listener, 1, heard);  // armed from here
  const size_t before = open_descriptors();
  for (int i = 1; i <= 300; ++i) co_await connect_and_tell(reactor, listener.port(), i, clients);
  CHECK_LT(open_descriptors() - before, 300U + 100U);  // most wait in the backlog and not in this process
  co_await accept_and_hear(reactor, listener, 300, heard);
  CHECK_EQ(heard.size(), 301U);
  co_await listener.close();
}

TEST_CASE("accept can be cancelled and called again, and connections that come meanwhile are kept") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    reactor->run(cancel_and_go_on(*reactor));
    reactor->run(nobody_accepts(*reactor));
    CHECK_EQ(reactor->in_flight(), 0U);
  }
}

static Task<> run_out_of_descriptors(Reactor& reactor, const DescriptorLimit& limit) {
  Listener listener = Listener::listen_tcp(reactor, "127.0.0.1", 0).value();
  std::vector<Fd> clients;
  for (int i = 0; i < 3; ++i) co_await connect_and_tell(reactor, listener.port(), i, clients);
  limit.set(static_cast<rlim_t>(clients.back().get()) + 4);
  std::vector<Fd> fillers;
  while (auto filler = sys::dup(clients[0].get())) fillers.push_back(std::move(*filler));
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto accepted = co_await listener.accept({});
    CHECK_EQ(accepted.error().code, Code::resource_exhausted);
    CHECK_EQ(accepted.error().message, "accept: Too many open files");
  }
  fillers.pop_back();  // room for one connection at a time
  std::set<int> heard;
  co_await accept_and_hear(reactor, listener, 3, heard);
  CHECK_EQ(heard, std::set<int>{0, 1, 2});
  co_await listener.close();
}

TEST_CASE("out of descriptors, accept says so, and goes on when there are some again") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    const DescriptorLimit limit(10'000);
    reactor->run(run_out_of_descriptors(*reactor, limit));
    CHECK_EQ(reactor->in_flight(), 0U);
  }
}

static Task<> check_socket(Reactor& reactor, std::string host) {
  Listener listener = Listener::listen_tcp(reactor, host, 0).value();
  const Fd client = (co_await connect_tcp(reactor, host, listener.port())).value();
  const Fd accepted = (co_await listener.accept({})).value();
  for (const int fd : {client.get(), accepted.get()}) {
    int no_delay = 0;
    socklen_t len_bytes = sizeof no_delay;
    ::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &len_bytes);
    CHECK_NE(no_delay, 0);
    CHECK_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  }
  const uint16_t port = listener.port();
  co_await listener.close();
  const auto refused = co_await connect_tcp(reactor, host, port);
  CHECK_EQ(refused.error().message, host + " port " + std::to_string(port) + ": connect: Connection refused");
  CHECK_EQ(refused.error().os_errno, ECONNREFUSED);
}

TEST_CASE("connections are close-on-exec without Nagle's delay, and refused after close") {
  for (const Configuration& configuration : kConfigurations) {
    CAPTURE(configuration.name);
    auto reactor = make_reactor(configuration.options);
    reactor->run(check_socket(*reactor, "127.0.0.1"));
    if (Listener::listen_tcp(*reactor, "::1", 0)) {
      reactor->run(check_socket(*reactor, "::1"));
    } else {
      MESSAGE("skipped: no IPv6 loopback here");
    }
  }
}

static Task<Code> connect_code(Reactor& reactor, std::string host) {
  co_return (co_await connect_tcp(reactor, std::move(host), 80)).error().code;
}

TEST_CASE("addresses that are none, and a port in use, are clear errors") {
  auto reactor = make_reactor();
  for (const char* host : {"", "localhost", "127.0.0.1.5", "300.1.1.1", "::1::", "127.0.0.1 "}) {
    CAPTURE(host);
    const auto listener = Listener::listen_tcp(*reactor, host, 0);
    REQUIRE_FALSE(listener.has_value());
    CHECK_EQ(listener.error().code, Code::invalid_argument);
    CHECK_EQ(listener.error().message, "\"" + std::string(host) + "\" is not an IPv4 or IPv6 address");
    CHECK_EQ(reactor->run(connect_code(*reactor, host)), Code::invalid_argument);
  }
  const Listener first = Listener::listen_tcp(*reactor, "127.0.0.1", 0).value();
  const auto second = Listener::listen_tcp(*reactor, "127.0.0.1", first.port());
  REQUIRE_FALSE(second.has_value());
  CHECK_EQ(second.error().os_errno, EADDRINUSE);
  CHECK_EQ(second.error().message,
           "bind to 127.0.0.1 port " + std::to_string(first.port()) +
               ": Address already in use; stop what listens there or choose another port");
}

}  // namespace lambdo::reactor
