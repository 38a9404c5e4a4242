#include "net/host_network.h"

#include <cerrno>
#include <utility>

#include "base/syscalls.h"
#include "net/addresses.h"
#include "net/undo.h"

namespace lambdo::net {

namespace {

Result<> check_forwarding(const HostNetworkSettings& settings) {
  if (!settings.egress) return {};
  const std::string forward = TRY(sys::read_file("/proc/sys/net/ipv4/ip_forward"));
  // Not switched on here: it makes a router of the machine for everybody, and whether it may be one is its
  // operator's to say.
  const std::string remedy =
      "guests that may connect to elsewhere need the host to forward packets: sysctl -w ";
  if (!forward.starts_with('1')) return fail(Code::unavailable, remedy + "net.ipv4.ip_forward=1");
  if (!settings.ipv6) return {};
  const auto ipv6 = sys::read_file("/proc/sys/net/ipv6/conf/all/forwarding");
  if (!ipv6)
    return fail(Code::unavailable, "guests with IPv6: this kernel has none: " + ipv6.error().message);
  if (!ipv6->starts_with('1')) return fail(Code::unavailable, remedy + "net.ipv6.conf.all.forwarding=1");
  return {};
}

JournalEntry rules_of(const std::string& bridge) {
  return {JournalEntry::Kind::rules, bridge, "", ""};
}

FirewallSettings firewall_settings(const HostNetworkSettings& settings, bool adopted) {
  return {.bridge = settings.bridge,
          .port_prefix = port_prefix(settings.bridge),
          .gateway = settings.address.address,
          .ipv6 = settings.ipv6.has_value(),
          .guests_only = !adopted,
          .agent_port = settings.agent_port,
          .resolvers = settings.resolvers,
          .denied = settings.denied,
          .limits = settings.limits};
}

/// A killed server of this state directory may have had another bridge, which another server uses by now: its
/// rules are that one's then, and no longer ours to undo. Gives the locks of those that nobody uses.
Result<std::vector<BridgeLock>> claim_former_bridges(Journal& journal, const std::string& own) {
  std::vector<BridgeLock> claimed;
  const std::vector<JournalEntry> entries = journal.entries();
  for (const JournalEntry& entry : entries) {
    if (entry.kind != JournalEntry::Kind::rules || entry.name == own) continue;
    auto lock = BridgeLock::take(entry.name);
    if (lock) {
      claimed.push_back(std::move(*lock));
    } else if (lock.error().os_errno == EADDRINUSE) {
      TRY(journal.strike(entry));
    } else {
      return std::unexpected(lock.error());
    }
  }
  return claimed;
}

}  // namespace

HostNetwork::HostNetwork(HostNetworkSettings settings, NetlinkSocket socket, Journal journal, Bridge bridge,
                         Firewall firewall)
    : settings_(std::move(settings)),
      socket_(std::move(socket)),
      journal_(std::move(journal)),
      bridge_(std::move(bridge)),
      firewall_(std::move(firewall)),
      addresses_(settings_.address, bridge_.link().mac, settings_.quarantine_ns, settings_.ipv6),
      ports_(bridge_.link(), port_prefix(settings_.bridge), settings_.kind, settings_.ports_ready,
             settings_.ipv6.has_value()) {}

Result<HostNetwork> HostNetwork::open(HostNetworkSettings settings) {
  TRY(check_forwarding(settings));
  NetlinkSocket socket = TRY(NetlinkSocket::open());
  Journal journal = TRY(Journal::open(settings.state_dir + "/network"));
  // Before anything is undone or written down: the rules of this bridge are its server's.
  BridgeLock lock = TRY(BridgeLock::take(settings.bridge));
  {
    const std::vector<BridgeLock> former = TRY(claim_former_bridges(journal, settings.bridge));
    TRY(undo_all(socket, journal));
  }
  // Written down before the bridge, so that they are undone after it: no guest is ever without rules.
  TRY(journal.record(rules_of(settings.bridge)));
  auto bridge = Bridge::set_up(socket, journal, std::move(lock), {settings.address, settings.ipv6});
  Result<Firewall> firewall = bridge ? Firewall::install(firewall_settings(settings, bridge->adopted()))
                                     : std::unexpected(bridge.error());
  if (!firewall) {
    static_cast<void>(undo_all(socket, journal));
    return std::unexpected(firewall.error());
  }
  HostNetwork network(std::move(settings), std::move(socket), std::move(journal), std::move(*bridge),
                      std::move(*firewall));
  auto filled = network.refill();
  if (!filled) {
    static_cast<void>(network.close());
    return std::unexpected(filled.error());
  }
  return network;
}

Result<> HostNetwork::check_allowed(const Policy& policy) const {
  if (settings_.egress || policy.access == Policy::Access::none) return {};
  return fail(Code::permission_denied, "guests may not connect to elsewhere on this server");
}

std::optional<GuestIpv6> HostNetwork::ipv6_of(const Lease& lease) const {
  if (!lease.ipv6) return std::nullopt;
  return GuestIpv6{.address = {*lease.ipv6, settings_.ipv6->prefix_len},
                   .gateway = settings_.ipv6->address,
                   .gateway_mac = bridge_.link().mac};
}

std::vector<JournalEntry> HostNetwork::neighbours_of(const Lease& lease) const {
  std::vector<JournalEntry> entries = {
      {JournalEntry::Kind::neighbour, settings_.bridge, lease.address.text(), lease.mac.text()}};
  if (lease.ipv6) {
    entries.push_back(
        {JournalEntry::Kind::neighbour, settings_.bridge, lease.ipv6->text(), lease.mac.text()});
  }
  return entries;
}

Result<bool> HostNetwork::refill_one() {
  if (ports_.full()) return false;
  TRY(ports_.fill_one(socket_));
  return true;
}

Result<> HostNetwork::connect(Port& port, const Lease& lease, const Policy& policy) {
  if (port.inside) {
    TRY(port.inside->set_address({lease, settings_.address.prefix_len, settings_.address.address,
                                  bridge_.link().mac, ipv6_of(lease)}));
  }
  TRY(add_forwarding_entry(socket_, port.link, lease.mac));
  // A bridge of ours takes its neighbours with it when it goes.
  for (const JournalEntry& neighbour : neighbours_of(lease)) {
    if (bridge_.adopted()) TRY(journal_.record(neighbour));
  }
  TRY(set_neighbour(socket_, bridge_.link(), lease.address, lease.mac));
  if (lease.ipv6) TRY(set_neighbour(socket_, bridge_.link(), *lease.ipv6, lease.mac));
  return firewall_.add_guest({port.link.name, lease, policy});
}

Result<> HostNetwork::disconnect(const Lease& lease) {
  Result<> first;
  for (const JournalEntry& neighbour : neighbours_of(lease)) {
    Result<> undone = undo(socket_, journal_, neighbour);
    if (!undone && first) first = std::move(undone);
  }
  return first;
}

Result<AttachedGuest> HostNetwork::attach(std::string_view identity, const Policy& policy, long long now_ns) {
  TRY(check_allowed(policy));
  const Lease lease = TRY(addresses_.take(identity, now_ns));
  auto port = ports_.take(socket_);
  Result<> connected = port ? connect(*port, lease, policy) : std::unexpected(port.error());
  if (!connected) {
    static_cast<void>(disconnect(lease));
    addresses_.give_back(lease, now_ns);
    return std::unexpected(std::move(connected).error());
  }
  guests_.emplace(port->link.name, lease);
  return AttachedGuest{.end = std::move(port->end),
                       .port = port->link.name,
                       .lease = lease,
                       .gateway = settings_.address.address,
                       .prefix_len = settings_.address.prefix_len,
                       .mtu = bridge_.link().mtu,
                       .ipv6 = ipv6_of(lease),
                       .resolvers = settings_.resolvers};
}

Result<> HostNetwork::detach(const std::string& port, long long now_ns) {
  const auto found = guests_.find(port);
  if (found == guests_.end()) return fail(Code::not_found, "port " + port + " has no guest");
  // Until all of it is gone the address remains the guest's, so an error can be tried again.
  if (firewall_.has_guest(port)) TRY(firewall_.remove_guest(port));
  TRY(disconnect(found->second));
  addresses_.give_back(found->second, now_ns);
  guests_.erase(found);
  return {};
}

Result<> HostNetwork::set_policy(const std::string& port, const Policy& policy) {
  TRY(check_allowed(policy));
  return firewall_.set_policy(port, policy);
}

Result<> HostNetwork::close() {
  for (const auto& [port, lease] : guests_) static_cast<void>(disconnect(lease));
  guests_.clear();
  // Ports before rules, so that no guest is ever without.
  ports_ = PortPool(bridge_.link(), port_prefix(settings_.bridge), settings_.kind, settings_.ports_ready,
                    settings_.ipv6.has_value());
  TRY(bridge_.tear_down(socket_, journal_));
  return undo(socket_, journal_, rules_of(settings_.bridge));
}

}  // namespace lambdo::net
