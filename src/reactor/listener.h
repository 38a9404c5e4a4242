#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "reactor/cancel.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::reactor {

/// A listening TCP socket. `host` is an IPv4 or IPv6 address literal; port 0 lets the kernel choose.
class Listener {
 public:
  static Result<Listener> listen_tcp(Reactor& reactor, const std::string& host, uint16_t port,
                                     int backlog = 1024);

  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  /// The next connection, with TCP_NODELAY set. Errors of a single connection are skipped;
  /// Code::resource_exhausted (out of descriptors or memory) is for the caller to wait out. One caller at a
  /// time.
  Task<Result<Fd>> accept(CancelToken token);
  /// Takes no more connections. Await before the listener dies where `accept` has been called; an `accept`
  /// that waits must be cancelled and have returned first.
  Task<> close();
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  class Acceptor;
  Listener(Reactor& reactor, Fd socket, uint16_t port);

  Reactor* reactor_;
  Fd socket_;
  uint16_t port_;
  std::unique_ptr<Acceptor> acceptor_;
};

/// Connects to a TCP `host` (an address literal) and `port`.
Task<Result<Fd>> connect_tcp(Reactor& reactor, std::string host, uint16_t port, CancelToken token = {});

}  // namespace lambdo::reactor
