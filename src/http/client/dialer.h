#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "http/client/client.h"
#include "http/client/client_connection.h"
#include "http/client/proxy.h"
#include "http/client/resolver.h"
#include "http/client/tls_context.h"
#include "http/url.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"

namespace lambdo::http {

/// Makes connections: looks the host up, connects, asks a proxy for a tunnel, shakes hands.
class Dialer {
 public:
  /// `settings` and `pool` outlive it.
  Dialer(reactor::Reactor& reactor, reactor::BlockingPool& pool, const ClientSettings& settings);

  /// To the server of `url`, through `proxy` unless that is nullptr. Code::permission_denied where `scope`
  /// does not allow any of its addresses.
  reactor::Task<Result<ClientConnection>> dial(Url url, const Proxy* proxy, AddressScope scope,
                                               reactor::CancelToken token);

 private:
  reactor::Task<Result<std::vector<IpAddress>>> look_up(std::string host, reactor::CancelToken token);
  reactor::Task<Result<ClientConnection>> connect(std::string host, uint16_t port, AddressScope scope,
                                                  reactor::CancelToken token);
  reactor::Task<Result<std::unique_ptr<reactor::Stream>>> secure(std::unique_ptr<reactor::Stream> stream,
                                                                 std::string host,
                                                                 reactor::CancelToken token);
  reactor::Task<Result<>> open_tunnel(reactor::Stream& stream, Url url, const Proxy& proxy,
                                      reactor::CancelToken token);

  reactor::Reactor* reactor_;
  const ClientSettings* settings_;
  Resolver resolver_;
  TlsContext tls_;
};

/// Whether the URL itself says that it leads to no public address: by an address, or localhost.
bool is_private_by_name(const Url& url);

}  // namespace lambdo::http
