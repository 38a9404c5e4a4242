#include "net/undo.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "net/addresses.h"
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

Result<> remove_neighbour(NetlinkSocket& socket, const Link& link, const JournalEntry& entry) {
  const Neighbour ours{TRY(IpAddress::parse(entry.address)), TRY(MacAddress::parse(entry.mac))};
  const std::vector<Neighbour> known = TRY(list_neighbours(socket, link));
  if (std::ranges::find(known, ours) == known.end()) return {};
  return delete_neighbour(socket, link, ours.address);
}

Result<> remove_rules(NetlinkSocket& socket, const JournalEntry& entry) {
  // Whoever still has a guest's end has a port of the bridge, which nothing guards from here on; and the
  // kernel takes its time over the namespace of processes that are dead.
  for (const Link& port : TRY(list_links(socket, port_prefix(entry.name)))) {
    TRY(gone_is_fine(delete_link(socket, port)));
  }
  Nftables nftables = TRY(Nftables::open());
  TRY(nftables.run(removal(entry.name), "remove the rules of bridge " + entry.name));
  return {};
}

Result<> remove_at_link(NetlinkSocket& socket, const Link& link, const JournalEntry& entry) {
  switch (entry.kind) {
    case JournalEntry::Kind::link:
      return link.mac.text() == entry.mac ? delete_link(socket, link) : Result<>();
    case JournalEntry::Kind::address:
      return delete_address(socket, link, TRY(IpSubnet::parse(entry.address)));
    case JournalEntry::Kind::neighbour:
      return remove_neighbour(socket, link, entry);
    case JournalEntry::Kind::rules:
      break;
  }
  return {};
}

Result<> remove_entry(NetlinkSocket& socket, const JournalEntry& entry) {
  if (entry.kind == JournalEntry::Kind::rules) return remove_rules(socket, entry);
  const auto link = find_link(socket, entry.name);
  if (!link) return std::unexpected(link.error());
  return remove_at_link(socket, *link, entry);
}

}  // namespace

Result<> undo(NetlinkSocket& socket, Journal& journal, const JournalEntry& entry) {
  TRY(gone_is_fine(remove_entry(socket, entry)));
  return journal.strike(entry);
}

Result<> undo_all(NetlinkSocket& socket, Journal& journal) {
  Result<> first;
  const std::vector<JournalEntry> entries = journal.entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    Result<> undone = undo(socket, journal, *entry);
    if (!undone && first) first = std::move(undone);
  }
  return first;
}

}  // namespace lambdo::net
