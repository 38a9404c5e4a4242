// HostNetwork puts the rest together in the network helper: bridge, rules, addresses, ports and the journal
// of them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/netlink.h"
#include "net/address_pool.h"
#include "net/bridge.h"
#include "net/firewall.h"
#include "net/guest_namespace.h"
#include "net/journal.h"
#include "net/policy.h"
#include "net/port_pool.h"

namespace lambdo::net {

struct HostNetworkSettings {
  std::string state_dir;  ///< the journal is in its folder "network"
  std::string bridge = "lambdo0";
  Ipv4Subnet address;                  ///< the bridge's
  std::optional<Ipv6Subnet> ipv6;      ///< the bridge's too, where guests have IPv6
  std::optional<uint16_t> agent_port;  ///< what guests reach at the bridge's address, by TCP
  std::vector<IpAddress> resolvers;
  std::vector<IpSubnet> denied;  ///< for all guests, whatever their policies say
  GuestLimits limits;
  PortKind kind = PortKind::tap;             ///< of all guests
  size_t ports_ready = 8;                    ///< made ahead
  long long quarantine_ns = 30'000'000'000;  ///< before an address is another guest's
  /// Guests may have policies other than none. The host has to forward packets then.
  bool egress = true;
};

/// A guest's network, for the machine that it is.
struct AttachedGuest {
  /// For a virtio-net device a TAP (net/tap.h), for processes the network namespace to start them in. The
  /// interface ends with its last copy, and the last process in the namespace.
  Fd end;
  std::string port;  ///< the interface's name, which the guest is known by here
  Lease lease;
  Ipv4Address gateway;
  uint8_t prefix_len = 0;
  uint32_t mtu = 0;
  std::optional<GuestIpv6> ipv6;
  std::vector<IpAddress> resolvers;  ///< that it may ask
};

/// The host's side of guests with a network: a bridge, rules, addresses and ports, and the journal that keeps
/// track of them.
///
/// Blocking code, for one thread at a time, with CAP_NET_ADMIN in the network namespace in which it was
/// opened: for a process of its own that was started before the server gave its rights up. When it dies,
/// guests keep running behind the rules that are in force; the next `open` removes what is left.
class HostNetwork {
 public:
  /// Removes what an earlier server left, then makes everything that guests share. Nothing stays after an
  /// error. Code::unavailable says what is missing or in the way, and what to do.
  static Result<HostNetwork> open(HostNetworkSettings settings);

  /// Everything for one guest: an address, an Ethernet address made from `identity`, a port, rules. Times are
  /// CLOCK_MONOTONIC in nanoseconds. Nothing stays after an error.
  Result<AttachedGuest> attach(std::string_view identity, const Policy& policy, long long now_ns);
  /// Closes the guest's port and gives its address back. The caller closes its copies of the end.
  Result<> detach(const std::string& port, long long now_ns);
  /// Makes ports for the next guests. For when nobody waits.
  Result<> refill() { return ports_.fill(socket_); }
  /// The same in small steps: makes one at most; false where none was missing.
  Result<bool> refill_one();

  Result<> set_policy(const std::string& port, const Policy& policy);
  Result<TrafficCounters> counters(const std::string& port) { return firewall_.counters(port); }
  /// Removes everything. No guest may be attached any more; those that are have no network then.
  Result<> close();

  [[nodiscard]] const Bridge& bridge() const { return bridge_; }
  [[nodiscard]] size_t guests() const { return guests_.size(); }

 private:
  HostNetwork(HostNetworkSettings settings, NetlinkSocket socket, Journal journal, Bridge bridge,
              Firewall firewall);

  Result<> connect(Port& port, const Lease& lease, const Policy& policy);
  Result<> disconnect(const Lease& lease);
  [[nodiscard]] std::optional<GuestIpv6> ipv6_of(const Lease& lease) const;
  /// Of each family that the guest has.
  [[nodiscard]] std::vector<JournalEntry> neighbours_of(const Lease& lease) const;
  [[nodiscard]] Result<> check_allowed(const Policy& policy) const;

  HostNetworkSettings settings_;
  NetlinkSocket socket_;
  Journal journal_;
  Bridge bridge_;
  Firewall firewall_;
  AddressPool addresses_;
  PortPool ports_;
  std::map<std::string, Lease> guests_;  ///< by port
};

}  // namespace lambdo::net
