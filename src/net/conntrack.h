// Conntrack makes the kernel forget the connections of a guest that is gone.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "base/netlink.h"

namespace lambdo::net {

/// What the kernel knows of connections (nf_conntrack), in the network namespace in which this was opened.
/// Blocking code, for one thread at a time, with CAP_NET_ADMIN.
class Conntrack {
 public:
  static Result<Conntrack> open();

  /// Forgets the connections with this mark, of either family. The kernel looks at all that there are: half
  /// a millisecond, and tens of them where there are tens of thousands. Code::unavailable where it was built
  /// without (CONFIG_NF_CT_NETLINK).
  Result<> forget(uint32_t mark);

 private:
  explicit Conntrack(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
};

}  // namespace lambdo::net
