#include "net/host_network.h"

#include <utility>

#include "base/syscalls.h"
#include "net/ip.h"

namespace lambdo::net {

namespace {

Result<> check_forwarding(const HostNetworkSettings& settings) {
  if (!settings.egress) return {};
  const std::string forward = TRY(sys::read_file("/proc/sys/net/ipv4/ip_forward"));
  if (forward.starts_with('1')) return {};
  // Not switched on here: it makes a router of the machine for everybody, and whether it may be one is its
  // operator's to say.
  return fail(Code::unavailable,
              "guests that may connect to elsewhere need the host to forward packets: sysctl -w "
              "net.ipv4.ip_forward=1");
}

Made rules_of(const std::string& bridge) {
  return {Made::Kind::rules, bridge, "", ""};
}

FirewallSettings firewall_settings(const HostNetworkSettings& settings, bool adopted) {
  return {.bridge = settings.bridge,
          .port_prefix = port_prefix(settings.bridge),
          .gateway = settings.address.address,
          .guests_only = !adopted,
          .agent_port = settings.agent_port,
          .resolvers = settings.resolvers,
          .denied = settings.denied,
          .limits = settings.limits};
}

}  // namespace

HostNetwork::HostNetwork(HostNetworkSettings settings, NetlinkSocket socket, Journal journal, Bridge bridge,
                         Firewall firewall)
    : settings_(std::move(settings)),
      socket_(std::move(socket)),
      journal_(std::move(journal)),
      bridge_(std::move(bridge)),
      firewall_(std::move(firewall)),
      addresses_(settings_.address, bridge_.link().mac, settings_.quarantine_ns),
      ports_(bridge_.link(), port_prefix(settings_.bridge), settings_.kind, settings_.ports_ready) {}

Result<HostNetwork> HostNetwork::open(HostNetworkSettings settings) {
  TRY(check_forwarding(settings));
  NetlinkSocket socket = TRY(NetlinkSocket::open());
  Journal journal = TRY(Journal::open(settings.state_dir + "/network"));
  // Before anything is undone or written down: the rules of this bridge are its server's.
  BridgeLock lock = TRY(BridgeLock::take(settings.bridge));
  TRY(undo_all(socket, journal));
  // Written down before the bridge, so that they are undone after it: no guest is ever without rules.
  TRY(journal.record(rules_of(settings.bridge)));
  auto bridge = Bridge::set_up(socket, journal, std::move(lock), settings.address);
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

Made HostNetwork::neighbour_of(const Lease& lease) const {
  return {Made::Kind::neighbour, settings_.bridge, lease.address.text(), lease.mac.text()};
}

Result<bool> HostNetwork::refill_one() {
  if (ports_.full()) return false;
  TRY(ports_.fill_one(socket_));
  return true;
}

Result<> HostNetwork::connect(Port& port, const Lease& lease, const Policy& policy) {
  if (port.inside) {
    TRY(port.inside->set_address(
        {lease, settings_.address.prefix_len, settings_.address.address, bridge_.link().mac}));
  }
  TRY(add_forwarding_entry(socket_, port.link, lease.mac));
  // A bridge of ours takes its neighbours with it when it goes.
  if (bridge_.adopted()) TRY(journal_.record(neighbour_of(lease)));
  TRY(set_neighbour(socket_, bridge_.link(), lease.address, lease.mac));
  return firewall_.add_guest({port.link.name, lease, policy});
}

Result<> HostNetwork::disconnect(const Lease& lease) {
  return undo(socket_, journal_, neighbour_of(lease));
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
                       .resolvers = settings_.resolvers};
}

Result<> HostNetwork::detach(const std::string& port, long long now_ns) {
  const auto found = guests_.find(port);
  if (found == guests_.end()) return fail(Code::not_found, "port " + port + " has no guest");
  // Until the rules are gone the address remains the guest's, so an error can be tried again.
  TRY(firewall_.remove_guest(port));
  const Lease lease = found->second;
  guests_.erase(found);
  addresses_.give_back(lease, now_ns);
  return disconnect(lease);
}

Result<> HostNetwork::set_policy(const std::string& port, const Policy& policy) {
  TRY(check_allowed(policy));
  return firewall_.set_policy(port, policy);
}

Result<> HostNetwork::close() {
  for (const auto& [port, lease] : guests_) static_cast<void>(disconnect(lease));
  guests_.clear();
  // Ports before rules, so that no guest is ever without.
  ports_ = PortPool(bridge_.link(), port_prefix(settings_.bridge), settings_.kind, settings_.ports_ready);
  TRY(bridge_.tear_down(socket_, journal_));
  return undo(socket_, journal_, rules_of(settings_.bridge));
}

}  // namespace lambdo::net
