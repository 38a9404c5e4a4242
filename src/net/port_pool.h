// PortPool makes guests' interfaces ahead, as ports of the bridge that are closed by the rules.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "net/guest_namespace.h"
#include "net/link.h"

namespace lambdo::net {

/// The prefix of the names of a bridge's guests' ports, its own and at most 8 characters long.
std::string port_prefix(const std::string& bridge);

/// What a guest's interface is made of.
enum class PortKind {
  tap,   ///< for a virtio-net device
  veth,  ///< for processes: the pair's other end is eth0 in a network namespace of its own
};

/// A port of the bridge, isolated, up and, by the rules, closed.
struct Port {
  Fd end;     ///< the TAP, or the network namespace; the interface ends with its last copy, and last process
  Link link;  ///< the bridge's port
  std::optional<GuestNamespace> inside;  ///< of a veth
};

/// Ports made ahead, since making one takes longer than a guest may wait for. Each is one guest's and ends
/// with it. None is left when the process ends. Blocking code, for one thread at a time; it leaves its
/// network namespace for a moment where it makes another.
class PortPool {
 public:
  /// Of at least one port: a bridge without any has no carrier, and takes up to a second to notice its first.
  /// `bridge` is one with rules for ports of this prefix.
  /// The other ends of veths have IPv6 where `ipv6` says so.
  PortPool(Link bridge, std::string prefix, PortKind kind, size_t size, bool ipv6 = false);

  /// Makes those that are missing. To be called at the start.
  Result<> fill(NetlinkSocket& socket);
  /// Makes one of them: for after each `take`, while nobody waits.
  Result<> fill_one(NetlinkSocket& socket);
  [[nodiscard]] bool full() const { return ready_.size() >= size_; }
  /// Makes one where none is ready.
  Result<Port> take(NetlinkSocket& socket);

  [[nodiscard]] size_t ready() const { return ready_.size(); }

 private:
  Result<Port> make(NetlinkSocket& socket);
  Result<Port> make_named(NetlinkSocket& socket, const std::string& name) const;

  Link bridge_;
  std::string prefix_;
  PortKind kind_;
  size_t size_;
  bool ipv6_;
  uint32_t next_number_ = 0;
  std::deque<Port> ready_;
};

}  // namespace lambdo::net
