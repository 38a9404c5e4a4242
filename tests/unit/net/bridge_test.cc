#include "net/bridge.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/syscalls.h"
#include "fixture.h"
#include "net/addresses.h"
#include "net/undo.h"
#include "test.h"

namespace lambdo::net {

static Ipv4Subnet subnet(const char* text) {
  return value_of(Ipv4Subnet::parse(text));
}

static Result<Bridge> set_up_bridge(NetlinkSocket& socket, Journal& journal, const std::string& name,
                                    Ipv4Subnet address) {
  return Bridge::set_up(socket, journal, TRY(BridgeLock::take(name)), {.ipv4 = address, .ipv6 = {}});
}

static std::string refusal(NetlinkSocket& socket, Journal& journal, const std::string& name,
                           const char* address) {
  const auto bridge = set_up_bridge(socket, journal, name, subnet(address));
  if (bridge) return "";
  CHECK(journal.entries().empty());
  return bridge.error().message;
}

TEST_CASE("a bridge is made with its address, and removed") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  Journal journal = value_of(Journal::open(folder.path()));
  Bridge bridge = value_of(set_up_bridge(space.socket(), journal, "lambdo0", subnet("192.168.10.1/24")));
  CHECK_FALSE(bridge.adopted());
  const Link link = value_of(find_link(space.socket(), "lambdo0"));
  CHECK(link.up);
  CHECK(link.alias == "lambdo: guests");
  CHECK(value_of(list_addresses(space.socket(), link)) == std::vector<IpSubnet>{subnet("192.168.10.1/24")});
  CHECK(journal.entries() ==
        std::vector<JournalEntry>{{JournalEntry::Kind::link, "lambdo0", "", link.mac.text()}});
  require_ok(bridge.tear_down(space.socket(), journal));
  CHECK_FALSE(find_link(space.socket(), "lambdo0"));
  CHECK(journal.entries().empty());
}

TEST_CASE("a bridge with the same address is adopted and stays") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  Journal journal = value_of(Journal::open(folder.path()));
  const Link own = value_of(create_bridge(space.socket(), "lambdo0", mac_of("operator")));
  require_ok(add_address(space.socket(), own, subnet("10.0.0.1/8")));
  require_ok(add_address(space.socket(), own, subnet("192.168.10.1/24")));
  Bridge bridge = value_of(set_up_bridge(space.socket(), journal, "lambdo0", subnet("192.168.10.1/24")));
  CHECK(bridge.adopted());
  CHECK(value_of(find_link(space.socket(), "lambdo0")).up);
  CHECK(journal.entries().empty());
  require_ok(bridge.tear_down(space.socket(), journal));
  CHECK(value_of(find_link(space.socket(), "lambdo0")).mac == mac_of("operator"));
}

TEST_CASE("a bridge that a server left together with no journal is made anew") {
  if (!network_usable()) return;
  const TestFolder folder;
  const TestFolder lost;
  Namespace space;
  Journal journal = value_of(Journal::open(folder.path()));
  MacAddress left;
  {
    Journal forgotten = value_of(Journal::open(lost.path()));
    left =
        value_of(set_up_bridge(space.socket(), forgotten, "lambdo0", subnet("192.168.10.1/24"))).link().mac;
  }
  CHECK(value_of(find_link(space.socket(), "lambdo0")).mac == left);
  Bridge bridge = value_of(set_up_bridge(space.socket(), journal, "lambdo0", subnet("192.168.11.1/24")));
  CHECK_FALSE(bridge.adopted());
  CHECK(bridge.link().mac != left);
  require_ok(bridge.tear_down(space.socket(), journal));
  CHECK_FALSE(find_link(space.socket(), "lambdo0"));
}

TEST_CASE("an adopted bridge gets its IPv6 address for as long as it is used, or keeps its own") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  NetlinkSocket& socket = space.socket();
  Journal journal = value_of(Journal::open(folder.path()));
  const Link own = value_of(create_bridge(socket, "lambdo0", mac_of("operator")));
  require_ok(add_address(socket, own, subnet("192.168.10.1/24")));
  const Ipv6Subnet ipv6 = value_of(Ipv6Subnet::parse("fd00:1::1/64"));
  const auto has_address = [&] {
    const auto addresses = value_of(list_addresses(socket, own));
    return std::ranges::find(addresses, IpSubnet(ipv6)) != addresses.end();
  };
  const auto adopt = [&] {
    return value_of(Bridge::set_up(socket, journal, value_of(BridgeLock::take("lambdo0")),
                                   {.ipv4 = subnet("192.168.10.1/24"), .ipv6 = ipv6}));
  };
  {
    Bridge bridge = adopt();
    CHECK(has_address());
    CHECK(journal.entries() ==
          std::vector<JournalEntry>{{JournalEntry::Kind::address, "lambdo0", "fd00:1::1/64", ""}});
    require_ok(bridge.tear_down(socket, journal));
    CHECK_FALSE(has_address());
    CHECK(journal.entries().empty());
  }
  static_cast<void>(adopt());
  require_ok(undo_all(socket, journal));
  CHECK_FALSE(has_address());
  require_ok(add_address(socket, own, ipv6));
  Bridge bridge = adopt();
  CHECK(journal.entries().empty());
  require_ok(bridge.tear_down(socket, journal));
  CHECK(has_address());
}

TEST_CASE("a bridge's IPv6 address is nobody else's") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  Journal journal = value_of(Journal::open(folder.path()));
  const auto refused = [&](const char* text) {
    const auto bridge =
        Bridge::set_up(space.socket(), journal, value_of(BridgeLock::take("lambdo0")),
                       {.ipv4 = subnet("192.168.10.1/24"), .ipv6 = value_of(Ipv6Subnet::parse(text))});
    return bridge ? std::string() : bridge.error().message;
  };
  CHECK(refused("fd00::c0a8:a05/64").contains("can be a guest's too"));
  CHECK(refused("fe80::1/64").contains("cannot be a bridge's IPv6 address"));
  const Link other = value_of(create_bridge(space.socket(), "other", mac_of("operator")));
  require_ok(set_up(space.socket(), other, true));
  require_ok(add_address(space.socket(), other, value_of(Ipv6Subnet::parse("fd00:1::1/48"))));
  CHECK(refused("fd00:1:0:2::1/64").contains("overlaps"));
  CHECK_FALSE(find_link(space.socket(), "lambdo0"));
  CHECK(refused("fd00::c0a8:a01/64").empty());
}

TEST_CASE("what is in a bridge's way is told with the remedy") {
  if (!network_usable()) return;
  const TestFolder folder;
  Namespace space;
  NetlinkSocket& socket = space.socket();
  Journal journal = value_of(Journal::open(folder.path()));
  const Link other = value_of(create_bridge(socket, "lambdo0", mac_of("operator")));
  CHECK(refusal(socket, journal, "lambdo0", "192.168.10.1/24")
            .starts_with("the bridge lambdo0 exists and has no IPv4 address, not 192.168.10.1/24; "));
  require_ok(add_address(socket, other, subnet("192.168.10.2/24")));
  require_ok(set_up(socket, other, true));
  const std::string wrong = refusal(socket, journal, "lambdo0", "192.168.10.1/24");
  CHECK(wrong.contains("has the address 192.168.10.2/24, not 192.168.10.1/24"));
  CHECK(wrong.contains("ip link delete lambdo0"));
  CHECK(refusal(socket, journal, "lo", "192.168.10.1/24")
            .starts_with("the network interface lo is not a bridge"));
  const std::string taken = refusal(socket, journal, "lambdo1", "192.168.0.1/16");
  CHECK(taken.contains("overlaps"));
  CHECK(taken.contains("192.168.10.0/24"));
  CHECK(taken.contains("another address"));
  for (const char* bad : {"10.0.0.0/24", "10.0.0.255/24", "10.0.0.1/31", "10.0.0.1/0"}) {
    CHECK(refusal(socket, journal, "lambdo1", bad).contains("cannot be a bridge's address"));
  }
  CHECK_FALSE(find_link(socket, "lambdo1"));
}

TEST_CASE("two servers on one bridge refuse each other, in other namespaces they do not") {
  if (!network_usable()) return;
  const TestFolder folders[2];
  Namespace space;
  Journal first = value_of(Journal::open(folders[0].path()));
  Journal second = value_of(Journal::open(folders[1].path()));
  {
    Bridge bridge = value_of(set_up_bridge(space.socket(), first, "lambdo0", subnet("10.1.0.1/24")));
    const auto refused = set_up_bridge(space.socket(), second, "lambdo0", subnet("10.1.0.1/24"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::unavailable);
    CHECK(
        refused.error().message.starts_with("process " + std::to_string(::getpid()) + " of user 0 uses the"));
    CHECK(set_up_bridge(space.socket(), second, "lambdo1", subnet("10.2.0.1/24")));
    Namespace elsewhere;
    CHECK(set_up_bridge(elsewhere.socket(), second, "lambdo0", subnet("10.1.0.1/24")));
  }
  CHECK(set_up_bridge(space.socket(), second, "lambdo0", subnet("10.1.0.1/24")));
}

}  // namespace lambdo::net
