#include "net/journal.h"

#include <fcntl.h>

#include <filesystem>
#include <string>

#include "base/syscalls.h"
#include "fixture.h"
#include "net/addresses.h"
#include "net/link.h"
#include "net/nftables.h"
#include "net/ruleset.h"
#include "net/tap.h"
#include "net/undo.h"
#include "test.h"

namespace lambdo::net {

static JournalEntry link_entry(const Link& link) {
  return {JournalEntry::Kind::link, link.name, "", link.mac.text()};
}

static void append(const std::string& path, const std::string& text) {
  const Fd file = value_of(sys::open(path, O_WRONLY | O_APPEND));
  require_ok(sys::write_all(file.get(), text));
}

TEST_CASE("what is recorded and not struck out is there after the next start") {
  const TestFolder folder;
  const JournalEntry rules{JournalEntry::Kind::rules, "lambdo0", "", ""};
  const JournalEntry link{JournalEntry::Kind::link, "lambdo0", "", "02:00:00:00:00:01"};
  const JournalEntry neighbour{JournalEntry::Kind::neighbour, "lambdo0", "10.0.0.2", "02:00:00:00:00:02"};
  {
    Journal journal = value_of(Journal::open(folder.path()));
    CHECK(journal.entries().empty());
    for (const JournalEntry& entry : {link, rules, neighbour}) require_ok(journal.record(entry));
    require_ok(journal.strike(rules));
    require_ok(journal.strike(rules));
  }
  const Journal again = value_of(Journal::open(folder.path()));
  CHECK(again.entries() == std::vector{link, neighbour});
  CHECK(again.unreadable() == 0);
}

TEST_CASE("a line that was being written at the end is none, and what was damaged is counted") {
  const TestFolder folder;
  const JournalEntry rules{JournalEntry::Kind::rules, "lambdo0", "", ""};
  require_ok(value_of(Journal::open(folder.path())).record(rules));
  append(folder.path() + "/journal", "nonsense\n+ link only-two\n+ planet mars - -\n+ link half");
  Journal journal = value_of(Journal::open(folder.path()));
  CHECK(journal.entries() == std::vector{rules});
  CHECK(journal.unreadable() == 3);
}

TEST_CASE("a journal is one server's at a time") {
  const TestFolder folder;
  {
    const Journal journal = value_of(Journal::open(folder.path()));
    const auto second = Journal::open(folder.path());
    REQUIRE_FALSE(second);
    CHECK(second.error().code == Code::unavailable);
    CHECK(second.error().message.contains("another server has " + folder.path()));
  }
  CHECK(Journal::open(folder.path()));
}

TEST_CASE("a journal does not grow with what has come and gone") {
  const TestFolder folder;
  Journal journal = value_of(Journal::open(folder.path()));
  for (int i = 0; i < 10'000; ++i) {
    const JournalEntry entry{JournalEntry::Kind::neighbour, "lambdo0", "10.0.0.2", "02:00:00:00:00:02"};
    require_ok(journal.record(entry));
    require_ok(journal.strike(entry));
  }
  CHECK(std::filesystem::file_size(folder.path() + "/journal") < 300'000);
}

TEST_CASE("links and rules that are recorded are removed, and nothing else") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  NetlinkSocket& socket = space.socket();
  Journal journal = value_of(Journal::open(folder.path()));
  const Link bridge = value_of(create_bridge(socket, "lambdo0", mac_of("bridge")));
  const Link others = value_of(create_bridge(socket, "others", mac_of("others")));
  const Fd tap = value_of(create_tap({.name = "tap0", .persistent = true}));
  Nftables nftables = value_of(Nftables::open());
  static_cast<void>(value_of(nftables.run("add table inet lambdo_lambdo0\nadd table inet mine\n", "tables")));
  for (const JournalEntry& entry : std::vector<JournalEntry>{
           link_entry(bridge),
           {JournalEntry::Kind::link, "others", "", mac_of("not that one").text()},
           {JournalEntry::Kind::link, "gone", "", mac_of("gone").text()},
           {JournalEntry::Kind::rules, "lambdo0", "", ""},
           link_entry(value_of(find_link(socket, "tap0"))),
       }) {
    require_ok(journal.record(entry));
  }
  require_ok(undo_all(socket, journal));
  CHECK(journal.entries().empty());
  CHECK(value_of(list_links(socket, "")).size() == 2);
  CHECK(value_of(find_link(socket, "others")).mac == others.mac);
  CHECK(value_of(nftables.run("list ruleset\n", "list")) == "table inet mine {\n}\n");
}

TEST_CASE("what is recorded at another's interface is removed, and nothing else") {
  if (!network_usable()) return;
  struct Texts {
    const char *own, *ours, *gone_address, *left, *foreign;
  };
  for (const auto& [own, ours, gone_address, left, foreign] :
       {Texts{"10.8.0.1/24", "10.9.0.1/24", "10.99.0.1/24", "10.8.0.2", "10.8.0.3"},
        Texts{"fd00:8::1/64", "fd00:9::1/64", "fd00:99::1/64", "fd00:8::2", "fd00:8::3"}}) {
    CAPTURE(own);
    const TestFolder folder;
    Namespace space;
    NetlinkSocket& socket = space.socket();
    Journal journal = value_of(Journal::open(folder.path()));
    const Link others = value_of(create_bridge(socket, "others", mac_of("others")));
    require_ok(set_up(socket, others, true));
    for (const char* each : {own, ours})
      require_ok(add_address(socket, others, value_of(IpSubnet::parse(each))));
    const Neighbour stays{value_of(IpAddress::parse(foreign)), mac_of("foreign")};
    require_ok(set_neighbour(socket, others, value_of(IpAddress::parse(left)), mac_of("left")));
    require_ok(set_neighbour(socket, others, stays.address, stays.mac));
    for (const JournalEntry& entry : std::vector<JournalEntry>{
             {JournalEntry::Kind::address, "others", ours, ""},
             {JournalEntry::Kind::address, "others", gone_address, ""},
             {JournalEntry::Kind::neighbour, "others", left, mac_of("left").text()},
             {JournalEntry::Kind::neighbour, "others", foreign, mac_of("another").text()},
         }) {
      require_ok(journal.record(entry));
    }
    require_ok(undo_all(socket, journal));
    CHECK(journal.entries().empty());
    CHECK(value_of(list_addresses(socket, others)) == std::vector{value_of(IpSubnet::parse(own))});
    CHECK(value_of(list_neighbours(socket, others)) == std::vector{stays});
  }
}

}  // namespace lambdo::net
