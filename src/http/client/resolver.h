#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "reactor/blocking_pool.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::http {

struct ResolverSettings {
  std::string name_servers;  ///< "address:port", with commas between; empty: those of /etc/resolv.conf
  std::string hosts_file = "/etc/hosts";
};

/// Finds the addresses of host names: address literals, localhost (RFC 6761, 6.3), the hosts file, then name
/// servers by c-ares, which reads /etc/resolv.conf anew for every lookup.
class Resolver {
 public:
  static constexpr size_t kMaxAddresses = 16;

  /// Files are read on a thread of `pool`; both outlive this.
  Resolver(reactor::Reactor& reactor, reactor::BlockingPool& pool, ResolverSettings settings)
      : reactor_(&reactor), pool_(&pool), settings_(std::move(settings)) {}

  /// At least one address and at most kMaxAddresses, in the order to try them (RFC 6724).
  /// Code::name_unresolved says whether the name or the name servers are the trouble, and the remedy.
  reactor::Task<Result<std::vector<IpAddress>>> resolve(std::string host, reactor::CancelToken token);

 private:
  reactor::Task<Result<std::vector<IpAddress>>> ask_servers(std::string host, reactor::CancelToken token);

  reactor::Reactor* reactor_;
  reactor::BlockingPool* pool_;
  ResolverSettings settings_;
};

/// The addresses that the text of a hosts file (hosts(5)) gives `host`.
std::vector<IpAddress> addresses_in_hosts(std::string_view text, std::string_view host);

/// Whether `host` is localhost or below it.
bool is_localhost(std::string_view host);

}  // namespace lambdo::http
