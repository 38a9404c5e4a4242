#include "net/bridge.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "base/syscalls.h"
#include "net/addresses.h"
#include "net/bridge_address.h"
#include "net/mac_of.h"
#include "net/undo.h"

namespace lambdo::net {

namespace {

// Of the bridges that are made here.
constexpr std::string_view kAlias = "lambdo: guests";

Result<> check_address(Ipv4Subnet address) {
  if (address.prefix_len >= 1 && address.prefix_len <= 30 && address.address != address.network() &&
      address.address != address.broadcast()) {
    return {};
  }
  return fail(Code::invalid_argument,
              address.text() + " cannot be a bridge's address: it needs a prefix length of 1 to 30, and is " +
                  "neither its network's first address nor its last");
}

Result<> check_addresses(const BridgeAddresses& addresses) {
  TRY(check_address(addresses.ipv4));
  if (!addresses.ipv6) return {};
  TRY(check_bridge_ipv6(*addresses.ipv6));
  const Ipv4Subnet& guests = addresses.ipv4;
  const Ipv6Subnet of_guests{address_in(*addresses.ipv6, guests.address),
                             static_cast<uint8_t>(96 + guests.prefix_len)};
  if (!of_guests.contains(addresses.ipv6->address) || addresses.ipv6->address == of_guests.address) return {};
  return fail(Code::invalid_argument, "the bridge's address " + addresses.ipv6->text() +
                                          " can be a guest's too, whose last 32 bits are of " +
                                          guests.text() + "; choose one such as the network's ::1");
}

std::string ipv4_list(const std::vector<IpSubnet>& addresses) {
  std::string text;
  for (const IpSubnet& address : addresses) {
    if (!address.is_ipv6()) text += (text.empty() ? "" : ", ") + address.text();
  }
  return text.empty() ? "no IPv4 address" : "the address " + text;
}

Result<> adopt(NetlinkSocket& socket, const Link& link, const IpSubnet& address) {
  if (link.kind != "bridge") {
    return fail(Code::unavailable, "the network interface " + link.name + " is not a bridge but " +
                                       (link.kind.empty() ? "a device" : "of kind " + link.kind) +
                                       "; give the bridge of guests another name");
  }
  const std::vector<IpSubnet> addresses = TRY(list_addresses(socket, link));
  if (std::ranges::find(addresses, address) == addresses.end()) {
    return fail(Code::unavailable, "the bridge " + link.name + " exists and has " + ipv4_list(addresses) +
                                       ", not " + address.text() +
                                       "; configure its address, remove it (ip link delete " + link.name +
                                       "), or give the bridge of guests another name");
  }
  return net::set_up(socket, link, true);
}

/// Two interfaces with parts of one network: packets for guests would go to the other one.
Result<> check_network_free(NetlinkSocket& socket, const IpSubnet& address) {
  for (const Route& route : TRY(list_routes(socket))) {
    const bool overlaps = route.to.contains(address.address) || address.contains(route.to.address);
    if (route.to.prefix_len == 0 || !overlaps) continue;
    return fail(Code::unavailable, "the network of " + address.text() +
                                       " overlaps with one that this machine has a route to, " +
                                       route.to.text() + "; give the bridge of guests another " +
                                       (address.is_ipv6() ? "IPv6 address" : "address"));
  }
  return {};
}

JournalEntry address_of(const Link& link, const IpSubnet& address) {
  return {JournalEntry::Kind::address, link.name, address.text(), ""};
}

/// The operator's bridge keeps whatever else it has of IPv6.
Result<> adopt_ipv6(NetlinkSocket& socket, Journal& journal, const Link& link, const IpSubnet& address) {
  // Guests are told its Ethernet address and never ask for it: it must not follow that of its ports, as it
  // does until somebody sets it.
  TRY(set_mac(socket, link, link.mac));
  const std::vector<IpSubnet> addresses = TRY(list_addresses(socket, link));
  if (std::ranges::find(addresses, address) != addresses.end()) return {};
  TRY(check_network_free(socket, address));
  TRY(journal.record(address_of(link, address)));
  auto added = add_address(socket, link, address);
  if (!added) static_cast<void>(undo(socket, journal, address_of(link, address)));
  return added;
}

Result<Link> create(NetlinkSocket& socket, Journal& journal, const std::string& name,
                    const BridgeAddresses& addresses) {
  TRY(check_network_free(socket, addresses.ipv4));
  if (addresses.ipv6) TRY(check_network_free(socket, *addresses.ipv6));
  // By this we know our bridge again.
  const MacAddress mac = TRY(random_mac());
  TRY(journal.record({JournalEntry::Kind::link, name, "", mac.text()}));
  Link link = TRY(create_bridge(socket, name, mac));
  TRY(set_alias(socket, link, kAlias));
  TRY(addresses.ipv6 ? enable_static_ipv6(socket, link) : disable_ipv6(socket, link));
  TRY(add_address(socket, link, addresses.ipv4));
  if (addresses.ipv6) TRY(add_address(socket, link, *addresses.ipv6));
  TRY(net::set_up(socket, link, true));
  return link;
}

std::string holder_of(const sockaddr_un& address, socklen_t len_bytes) {
  // Whoever has it accepts nobody: once that many have asked, one more must not wait.
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ucred peer{};
  socklen_t peer_bytes = sizeof peer;
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), len_bytes) < 0 ||
      ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) < 0) {
    return "another process";
  }
  return "process " + std::to_string(peer.pid) + " of user " + std::to_string(peer.uid);
}

}  // namespace

Result<BridgeLock> BridgeLock::take(const std::string& bridge) {
  TRY(check_link_name(bridge));
  // An abstract name belongs to the network namespace and to no file system (unix(7)).
  const std::string name = "lambdo/bridge/" + bridge;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), std::min(name.size(), sizeof address.sun_path - 1));
  const auto len_bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail_errno("socket for the lock of bridge " + bridge);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), len_bytes) < 0) {
    if (errno != EADDRINUSE) return fail_errno("lock of bridge " + bridge);
    return std::unexpected(Error{Code::unavailable, EADDRINUSE,
                                 holder_of(address, len_bytes) + " uses the bridge " + bridge +
                                     " already; stop it, or give this server a bridge of its own"});
  }
  if (::listen(socket.get(), SOMAXCONN) < 0) return fail_errno("lock of bridge " + bridge);
  return BridgeLock(bridge, std::move(socket));
}

Result<Bridge> Bridge::set_up(NetlinkSocket& socket, Journal& journal, BridgeLock lock,
                              const BridgeAddresses& addresses) {
  TRY(check_addresses(addresses));
  const std::string name = lock.bridge();
  auto found = find_link(socket, name);
  // A server's that is gone, and its journal too: the lock would be held.
  if (found && found->alias == kAlias) {
    TRY(delete_link(socket, *found));
    found = find_link(socket, name);
  }
  if (!found && found.error().code != Code::not_found) return std::unexpected(found.error());
  if (found) {
    TRY(adopt(socket, *found, addresses.ipv4));
    if (addresses.ipv6) TRY(adopt_ipv6(socket, journal, *found, *addresses.ipv6));
    return Bridge(std::move(lock), *found, addresses, true);
  }
  auto created = create(socket, journal, name, addresses);
  if (!created) {
    // Half of it may be there.
    static_cast<void>(undo_all(socket, journal));
    return std::unexpected(created.error());
  }
  return Bridge(std::move(lock), *created, addresses, false);
}

Result<> Bridge::tear_down(NetlinkSocket& socket, Journal& journal) {
  if (adopted_) {
    if (!addresses_.ipv6) return {};
    // One that it had before is not in the journal, and stays.
    const JournalEntry entry = address_of(link_, *addresses_.ipv6);
    const bool ours = std::ranges::find(journal.entries(), entry) != journal.entries().end();
    return ours ? undo(socket, journal, entry) : Result<>();
  }
  return undo(socket, journal, {JournalEntry::Kind::link, link_.name, "", link_.mac.text()});
}

}  // namespace lambdo::net
