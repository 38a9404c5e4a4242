// Bridge makes, adopts and removes the bridge that guests are connected to; BridgeLock keeps other servers
// from it.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "base/netlink.h"
#include "net/journal.h"
#include "net/link.h"

namespace lambdo::net {

/// The right to a bridge: one server at a time has it, whatever its state directory. It belongs to the
/// network namespace, as bridges do, and ends with the process, however that ends.
class BridgeLock {
 public:
  /// Code::unavailable with EADDRINUSE where another process has it; names it.
  static Result<BridgeLock> take(const std::string& bridge);

  [[nodiscard]] const std::string& bridge() const { return bridge_; }

 private:
  BridgeLock(std::string bridge, Fd socket) : bridge_(std::move(bridge)), socket_(std::move(socket)) {}

  std::string bridge_;
  Fd socket_;
};

struct BridgeAddresses {
  Ipv4Subnet ipv4;
  std::optional<Ipv6Subnet> ipv6;
};

/// The bridge that guests are connected to. Blocking code.
class Bridge {
 public:
  /// Makes the bridge of the lock with these addresses, up, and without IPv6 where it has no address of that.
  /// One that is there already and has the IPv4 address is adopted: it is used as it is, set up, gets the
  /// IPv6 address if it has not, and stays afterwards. Errors (unavailable) say what is in the way and what
  /// to do: something else of this name, a bridge with another address, or another interface with a part of
  /// these networks.
  static Result<Bridge> set_up(NetlinkSocket& socket, Journal& journal, BridgeLock lock,
                               const BridgeAddresses& addresses);

  /// Removes it, or from an adopted one the address that it got.
  Result<> tear_down(NetlinkSocket& socket, Journal& journal);

  [[nodiscard]] const Link& link() const { return link_; }
  [[nodiscard]] Ipv4Subnet address() const { return addresses_.ipv4; }
  [[nodiscard]] bool adopted() const { return adopted_; }

 private:
  Bridge(BridgeLock lock, Link link, BridgeAddresses addresses, bool adopted)
      : lock_(std::move(lock)), link_(std::move(link)), addresses_(addresses), adopted_(adopted) {}

  BridgeLock lock_;
  Link link_;
  BridgeAddresses addresses_;
  bool adopted_;
};

}  // namespace lambdo::net
