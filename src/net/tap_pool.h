#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "net/link.h"
#include "net/netlink.h"

namespace lambdo::net {

/// The prefix of the names of a bridge's guests' ports, its own and at most 8 characters long.
std::string port_prefix(const std::string& bridge);

/// A TAP that is a port of the bridge, isolated, up and, by the rules, closed.
struct Port {
  Fd tap;  ///< the interface ends with its last copy
  Link link;
};

/// TAPs made ahead, since making one takes longer than a guest may wait for. Each is one guest's and ends
/// with it. None is left when the process ends. Blocking code, for one thread at a time.
class TapPool {
 public:
  /// Of at least one TAP: a bridge without any port has no carrier, and takes up to a second to notice its
  /// first. `bridge` is one with rules for ports of this prefix.
  TapPool(Link bridge, std::string prefix, size_t size);

  /// Makes those that are missing. To be called at the start and after each `take`, while nobody waits.
  Result<> fill(NetlinkSocket& socket);
  /// Makes one where none is ready.
  Result<Port> take(NetlinkSocket& socket);

  [[nodiscard]] size_t ready() const { return ready_.size(); }

 private:
  Result<Port> make(NetlinkSocket& socket);

  Link bridge_;
  std::string prefix_;
  size_t size_;
  uint32_t next_number_ = 0;
  std::deque<Port> ready_;
};

}  // namespace lambdo::net
