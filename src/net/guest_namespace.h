// GuestNamespace is the network namespace and interface of a guest that is a sandbox and not a VM.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/ip.h"
#include "base/netlink.h"
#include "net/address_pool.h"
#include "net/link.h"

namespace lambdo::net {

/// IPv6 of a guest's interface. It never asks for its gateway's Ethernet address, nor is it told of it by
/// routers.
struct GuestIpv6 {
  Ipv6Subnet address;
  Ipv6Address gateway;
  MacAddress gateway_mac;

  bool operator==(const GuestIpv6&) const = default;
};

/// What a guest's interface is told.
struct GuestAddress {
  Lease lease;
  uint8_t prefix_len = 0;
  Ipv4Address gateway;
  MacAddress gateway_mac;
  std::optional<GuestIpv6> ipv6;
};

/// A network namespace for processes that are a guest with a network: a loopback interface that is up, and
/// eth0, one end of a veth pair, which knows of IPv6 only what `set_address` says. It belongs to the calling
/// process's user namespace, so a guest in one of its own may change nothing in it and open no raw socket.
///
/// Blocking code. The calling thread leaves its network namespace for a moment; needs CAP_SYS_ADMIN.
class GuestNamespace {
 public:
  /// Interfaces that are made in it have IPv6, but no address that nobody gave them, or know nothing of it.
  static Result<GuestNamespace> create(bool ipv6 = false);

  /// Makes the veth pair, with its other end, `name`, in the namespace of `host`. eth0 is up and has no
  /// address yet. Gives the other end, which is down.
  Result<Link> add_interface(NetlinkSocket& host, const std::string& name, uint32_t mtu);
  /// Gives eth0 its addresses, default routes and neighbours that are never asked for. Once.
  Result<> set_address(const GuestAddress& address);
  /// The namespace's descriptor; once. The namespace ends with its last copy, the last process in it and this
  /// object.
  [[nodiscard]] Fd take_handle() { return std::move(handle_); }

 private:
  GuestNamespace(Fd handle, NetlinkSocket socket) : handle_(std::move(handle)), socket_(std::move(socket)) {}

  Fd handle_;
  NetlinkSocket socket_;
};

}  // namespace lambdo::net
