#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace lambdo::http {

struct ConnectedSocket {
  Fd socket;
  IpAddress peer;
};

/// Connects to the first of `addresses` (at least one) that answers, in the manner of RFC 8305: the families
/// take turns, and the next address is tried when the one before has failed or kept silent for 250 ms. The
/// error is that of the first address.
reactor::Task<Result<ConnectedSocket>> connect_any(reactor::Reactor& reactor,
                                                   std::vector<IpAddress> addresses, uint16_t port,
                                                   reactor::CancelToken token);

/// Moves addresses so that the families alternate, beginning with the first one's; else the order is kept.
std::vector<IpAddress> interleaved(const std::vector<IpAddress>& addresses);

}  // namespace lambdo::http
