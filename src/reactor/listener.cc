#include "reactor/listener.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <utility>

#include "base/check.h"
#include "reactor/event.h"
#include "reactor/operations.h"

namespace lambdo::reactor {

namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t len_bytes = 0;
};

Result<Address> parse_address(const std::string& host, uint16_t port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.len_bytes = sizeof *v4;
  } else if (::inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.len_bytes = sizeof *v6;
  } else {
    return fail(Code::invalid_argument, "\"" + host + "\" is not an IPv4 or IPv6 address");
  }
  return address;
}

Result<Fd> tcp_socket(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd < 0) return fail_errno("socket");
  return Fd(fd);
}

void set_option(int fd, int level, int option) {
  const int on = 1;
  ::setsockopt(fd, level, option, &on, sizeof on);
}

/// What accept(2) says of one connection and not of the listening socket (its "Error handling").
bool concerns_one_connection(int os_errno) {
  switch (os_errno) {
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EINTR:
      return true;
    default:
      return false;
  }
}

}  // namespace

/// One multishot accept (io_uring_prep_multishot_accept(3)), armed anew whenever the kernel ends it.
/// Connections that nobody waits for yet are kept, at most as many as one reaping brings: it is cancelled
/// while the queue is long.
class Listener::Acceptor final : public Operation {
 public:
  Acceptor(Reactor& reactor, int fd) : Operation(reactor), fd_(fd), changed_(reactor) {}

  Task<Result<Fd>> next(CancelToken token) {
    while (true) {
      if (!connections_.empty()) {
        Fd connection = std::move(connections_.front());
        connections_.pop_front();
        co_return connection;
      }
      if (error_ != 0) co_return fail_errno(std::exchange(error_, 0), "accept");
      if (stopping_) co_return fail(Code::closed, "the listener is closed");
      if (token.cancelled()) co_return fail(Code::cancelled, "accept cancelled");
      if (!in_flight()) start();
      CO_TRY(co_await changed_.wait(token));
    }
  }

  Task<> stop() {
    stopping_ = true;
    request_cancel();
    changed_.notify_all();
    while (in_flight()) co_await changed_.wait();
    connections_.clear();
  }

 private:
  static constexpr size_t kMaxWaiting = 64;

  void start() {
    io_uring_sqe& entry = submit();
    io_uring_prep_multishot_accept(&entry, fd_, nullptr, nullptr, SOCK_CLOEXEC);
    io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
  }

  void complete(int result, uint32_t) override {
    if (result >= 0) {
      connections_.emplace_back(result);
      if (connections_.size() == kMaxWaiting) request_cancel();
    } else if (result != -ECANCELED && !concerns_one_connection(-result)) {
      error_ = -result;
    }
    changed_.notify_all();
  }

  int fd_;
  Event changed_;
  std::deque<Fd> connections_;
  int error_ = 0;
  bool stopping_ = false;
};

Result<Listener> Listener::listen_tcp(Reactor& reactor, const std::string& host, uint16_t port, int backlog) {
  const Address address = TRY(parse_address(host, port));
  Fd socket = TRY(tcp_socket(address.storage.ss_family));
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR);
  set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it
  const std::string name = host + " port " + std::to_string(port);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.len_bytes) < 0) {
    Error error = errno_error(errno, "bind to " + name);
    if (error.os_errno == EADDRINUSE) error.message += "; stop what listens there or choose another port";
    return std::unexpected(std::move(error));
  }
  if (::listen(socket.get(), backlog) < 0) return fail_errno("listen on " + name);
  sockaddr_storage bound{};
  socklen_t len_bytes = sizeof bound;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &len_bytes) < 0)
    return fail_errno("getsockname");
  // sin_port and sin6_port lie at the same place.
  return Listener(reactor, std::move(socket), ntohs(reinterpret_cast<const sockaddr_in*>(&bound)->sin_port));
}

Listener::Listener(Reactor& reactor, Fd socket, uint16_t port)
    : reactor_(&reactor), socket_(std::move(socket)), port_(port) {
  if (reactor.options().multishot_accept) acceptor_ = std::make_unique<Acceptor>(reactor, socket_.get());
}

Listener::Listener(Listener&&) noexcept = default;
Listener::~Listener() = default;

Task<Result<Fd>> Listener::accept(CancelToken token) {
  while (true) {
    Result<Fd> connection =
        acceptor_ ? co_await acceptor_->next(token) : co_await AcceptOp(*reactor_, socket_.get(), token);
    if (connection || !concerns_one_connection(connection.error().os_errno)) co_return connection;
  }
}

Task<> Listener::close() {
  if (acceptor_) co_await acceptor_->stop();
  socket_.reset();
}

Task<Result<Fd>> connect_tcp(Reactor& reactor, std::string host, uint16_t port, CancelToken token) {
  const Address address = CO_TRY(parse_address(host, port));
  Fd socket = CO_TRY(tcp_socket(address.storage.ss_family));
  set_option(socket.get(), IPPROTO_TCP, TCP_NODELAY);
  auto connected = co_await ConnectOp(reactor, socket.get(), address.storage, address.len_bytes, token);
  if (!connected) {
    co_return std::unexpected(
        std::move(connected).error().with_context(host + " port " + std::to_string(port)));
  }
  co_return socket;
}

}  // namespace lambdo::reactor
