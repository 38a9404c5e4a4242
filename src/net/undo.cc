#include <algorithm>
#include <cerrno>
#include <vector>

#include "net/addresses.h"
#include "net/journal.h"
#include "net/link.h"
#include "net/nftables.h"
#include "net/port_pool.h"
#include "net/ruleset.h"

namespace lambdo::net {

namespace {

/// What is gone already was to be removed.
Result<> gone_is_fine(Result<> removed) {
  if (!removed && (removed.error().code == Code::not_found || removed.error().os_errno == EADDRNOTAVAIL)) {
    return {};
  }
  return removed;
}

Result<> remove_neighbour(NetlinkSocket& socket, const Link& link, const Made& made) {
  const Neighbour ours{TRY(IpAddress::parse(made.address)), TRY(MacAddress::parse(made.mac))};
  const std::vector<Neighbour> known = TRY(list_neighbours(socket, link));
  if (std::ranges::find(known, ours) == known.end()) return {};
  return delete_neighbour(socket, link, ours.address);
}

Result<> remove_rules(NetlinkSocket& socket, const Made& made) {
  // Whoever still has a guest's end has a port of the bridge, which nothing guards from here on; and the
  // kernel takes its time over the namespace of processes that are dead.
  for (const Link& port : TRY(list_links(socket, port_prefix(made.name)))) {
    TRY(gone_is_fine(delete_link(socket, port)));
  }
  Nftables nftables = TRY(Nftables::open());
  TRY(nftables.run(removal(made.name), "remove the rules of bridge " + made.name));
  return {};
}

Result<> remove_at_link(NetlinkSocket& socket, const Link& link, const Made& made) {
  switch (made.kind) {
    case Made::Kind::link:
      return link.mac.text() == made.mac ? delete_link(socket, link) : Result<>();
    case Made::Kind::address:
      return delete_address(socket, link, TRY(IpSubnet::parse(made.address)));
    case Made::Kind::neighbour:
      return remove_neighbour(socket, link, made);
    case Made::Kind::rules:
      break;
  }
  return {};
}

Result<> remove_made(NetlinkSocket& socket, const Made& made) {
  if (made.kind == Made::Kind::rules) return remove_rules(socket, made);
  const auto link = find_link(socket, made.name);
  if (!link) return std::unexpected(link.error());
  return remove_at_link(socket, *link, made);
}

}  // namespace

Result<> undo(NetlinkSocket& socket, Journal& journal, const Made& made) {
  TRY(gone_is_fine(remove_made(socket, made)));
  return journal.strike(made);
}

Result<> undo_all(NetlinkSocket& socket, Journal& journal) {
  Result<> first;
  const std::vector<Made> entries = journal.entries();
  for (auto made = entries.rbegin(); made != entries.rend(); ++made) {
    Result<> undone = undo(socket, journal, *made);
    if (!undone && first) first = std::move(undone);
  }
  return first;
}

}  // namespace lambdo::net
