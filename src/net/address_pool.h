// AddressPool decides which IPv4, IPv6 and Ethernet address each guest has; it sets none of them (link.h,
// addresses.h).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/ip.h"
#include "base/mac_address.h"

namespace lambdo::net {

/// What a guest is known by on its bridge.
struct Lease {
  Ipv4Address address;
  MacAddress mac;
  std::optional<Ipv6Address> ipv6;  ///< with the IPv4 address in its last bits, and as long the guest's

  bool operator==(const Lease&) const = default;
};

/// Gives out the addresses of a bridge's network, each to one guest at a time, and an Ethernet address with
/// each. What comes back is quarantined before it is given out again, so that what is still on its way to the
/// last guest is over by then. (Its connections are not: net/ruleset.cc.) Times are CLOCK_MONOTONIC in
/// nanoseconds.
class AddressPool {
 public:
  /// `bridge` is the bridge's own address; it, the network's and the broadcast address are never given out.
  /// The prefix is at most 30 bits long. `ipv6` is the network of the IPv6 addresses that leases have.
  AddressPool(Ipv4Subnet bridge, MacAddress bridge_mac, long long quarantine_ns,
              std::optional<Ipv6Subnet> ipv6 = std::nullopt);

  /// Code::resource_exhausted where all are in use or quarantined; the message says what helps.
  Result<Lease> take(std::string_view identity, long long now_ns);
  /// What `take` gave. Once.
  void give_back(const Lease& lease, long long now_ns);

  [[nodiscard]] uint64_t capacity() const { return capacity_; }
  [[nodiscard]] size_t in_use() const { return taken_.size() - quarantined_.size(); }
  [[nodiscard]] size_t quarantined() const { return quarantined_.size(); }

 private:
  struct Quarantined {
    Lease lease;
    long long since_ns;
  };

  void end_quarantines(long long now_ns);
  Ipv4Address next_address();

  Ipv4Subnet bridge_;
  MacAddress bridge_mac_;
  long long quarantine_ns_;
  std::optional<Ipv6Subnet> ipv6_;
  uint64_t capacity_;
  uint32_t cursor_;                      ///< the last address given out: the next is looked for behind it
  std::set<Ipv4Address> taken_;          ///< in use or quarantined
  std::set<MacAddress> macs_;            ///< of those
  std::deque<Quarantined> quarantined_;  ///< the longest first
};

}  // namespace lambdo::net
