// Firewall keeps the rules in the kernel in step with the guests: their ports, addresses and policies. The
// text of the rules is ruleset.h's and policy.h's.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"
#include "net/address_pool.h"
#include "net/conntrack.h"
#include "net/nftables.h"
#include "net/policy.h"
#include "net/ruleset.h"

namespace lambdo::net {

/// What has gone through a guest's port.
struct TrafficCounters {
  uint64_t sent_packets = 0;  ///< by the guest, with its own addresses; refused ones too. No ARP
  uint64_t sent_bytes = 0;
  uint64_t received_packets = 0;
  uint64_t received_bytes = 0;
  uint64_t spoofed_packets = 0;  ///< frames that were not the guest's to send
  uint64_t refused_packets = 0;  ///< the policy's or the host's no

  TrafficCounters& operator+=(const TrafficCounters& other) {
    sent_packets += other.sent_packets;
    sent_bytes += other.sent_bytes;
    received_packets += other.received_packets;
    received_bytes += other.received_bytes;
    spoofed_packets += other.spoofed_packets;
    refused_packets += other.refused_packets;
    return *this;
  }
};

/// The rules for the guests of one bridge: three tables of our own, in nftables. Nobody else's rules are
/// touched; what others drop remains dropped.
///
/// A guest can send with its own addresses only (Ethernet, ARP, IPv4, and IPv6 where it has that; no
/// neighbour discovery, no VLANs), to the host and through it, never to another guest. It reaches the agents'
/// port of the host and what its policy says. The bridge's rules belong to interfaces by the prefix of their
/// names, so a port is closed until its guest is added. A guest's coming and going changes elements of sets,
/// and makes or removes a chain at most, in one transaction.
///
/// Each guest has a mark of its own, which its connections get (`ct mark`): at most 2^31 guests later, and
/// after another install as good as never, another one gets the same.
///
/// Blocking code (net/nftables.h), for one thread at a time. The tables outlive this object and the process:
/// a guest whose host's program died is not free of them. `remove` takes them away, and so does the journal's
/// next reader.
class Firewall {
 public:
  struct Guest {
    std::string port;  ///< the interface's name
    Lease lease;
    Policy policy;
  };
  /// Chains of policies that no guest has, kept for the next.
  static constexpr size_t kMaxIdlePolicies = 32;

  /// Replaces what an earlier one left. Code::unavailable where the kernel lacks what the rules need.
  static Result<Firewall> install(FirewallSettings settings);

  /// From now on the port is this guest's.
  Result<> add_guest(const Guest& guest);
  /// The port is closed, and all connections of the guest's are forgotten. After an error the guest may be
  /// gone already (`has_guest`).
  Result<> remove_guest(const std::string& port);
  Result<> set_policy(const std::string& port, const Policy& policy);
  Result<TrafficCounters> counters(const std::string& port);
  /// Takes all rules away.
  Result<> remove();

  [[nodiscard]] bool has_guest(const std::string& port) const { return guests_.contains(port); }
  [[nodiscard]] size_t guests() const { return guests_.size(); }
  [[nodiscard]] size_t policies() const { return policies_.size(); }

 private:
  struct GuestRules {
    Lease lease;
    std::string rules;  ///< the key of its policy
    bool online = false;
    uint32_t mark = 0;
  };
  struct Chain {
    uint64_t number = 0;
    size_t users = 0;
    uint64_t last_used = 0;
  };

  Firewall(FirewallSettings settings, Nftables nftables, Conntrack conntrack, uint32_t mark)
      : settings_(std::move(settings)),
        nftables_(std::move(nftables)),
        conntrack_(std::move(conntrack)),
        next_mark_(mark) {}

  [[nodiscard]] std::string elements(const char* verb, const std::string& port,
                                     const GuestRules& guest) const;
  /// Adds or removes what makes the guest one with more access than none.
  [[nodiscard]] std::string online_elements(const char* verb, const Lease& lease) const;
  /// Adds or removes what its connections are known by.
  [[nodiscard]] std::string mark_elements(const char* verb, const GuestRules& guest) const;
  /// Removes what rules have added for the guest.
  [[nodiscard]] std::string removal_of_dynamic_elements(const GuestRules& guest) const;
  [[nodiscard]] std::string policy_elements(const char* verb, const GuestRules& guest, uint64_t number) const;
  /// Adds the commands that make the policy's chain, if there is none yet.
  uint64_t chain_for(const std::string& rules, std::string& commands) const;
  void use(const std::string& rules, uint64_t number);
  void stop_using(const std::string& rules);
  void drop_idle_policies();

  FirewallSettings settings_;
  Nftables nftables_;
  Conntrack conntrack_;
  uint32_t next_mark_;
  std::map<std::string, GuestRules> guests_;  ///< by port
  std::map<std::string, Chain> policies_;     ///< by rules
  uint64_t next_number_ = 1;
  uint64_t uses_ = 0;
};

}  // namespace lambdo::net
