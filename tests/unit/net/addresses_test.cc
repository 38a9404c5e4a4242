#include "net/addresses.h"

#include <algorithm>
#include <cerrno>

#include "fixture.h"
#include "net/tap.h"
#include "test.h"

namespace lambdo::net {

static IpSubnet subnet(const char* text) {
  return value_of(IpSubnet::parse(text));
}

static IpAddress address(const char* text) {
  return value_of(IpAddress::parse(text));
}

TEST_CASE("addresses are added, listed and deleted") {
  if (!network_usable()) return;
  Namespace space;
  NetlinkSocket& socket = space.socket();
  const Link bridge = value_of(create_bridge(socket, "lambdo0", mac_of("bridge")));
  const std::vector expected = {subnet("192.168.10.1/24"), subnet("10.9.0.1/30"), subnet("fd00:1::1/64")};
  for (const IpSubnet& each : expected) require_ok(add_address(socket, bridge, each));
  CHECK(value_of(list_addresses(socket, bridge)) == expected);
  for (const IpSubnet& each : expected) {
    CAPTURE(each.text());
    const auto again = add_address(socket, bridge, each);
    REQUIRE_FALSE(again);
    CHECK(again.error().os_errno == EEXIST);
    CHECK(again.error().message.contains("interface lambdo0"));
    require_ok(delete_address(socket, bridge, each));
    CHECK(delete_address(socket, bridge, each).error().os_errno == EADDRNOTAVAIL);
  }
  CHECK(value_of(list_addresses(socket, bridge)).empty());
}

TEST_CASE("routes are added and listed") {
  if (!network_usable()) return;
  Namespace space;
  NetlinkSocket& socket = space.socket();
  const Link bridge = value_of(create_bridge(socket, "lambdo0", mac_of("bridge")));
  require_ok(set_up(socket, bridge, true));
  require_ok(add_address(socket, bridge, subnet("192.168.10.1/24")));
  require_ok(add_address(socket, bridge, subnet("fd00:1::1/64")));
  const auto has = [&](const Route& route) {
    const std::vector<Route> routes = value_of(list_routes(socket));
    return std::ranges::find(routes, route) != routes.end();
  };
  for (const Route& route : std::vector<Route>{
           {subnet("10.1.0.0/16"), std::nullopt, bridge.index},
           {subnet("0.0.0.0/0"), address("192.168.10.254"), bridge.index},
           {subnet("fd00:2::/48"), std::nullopt, bridge.index},
           {subnet("::/0"), address("fd00:1::fe"), bridge.index},
       }) {
    CAPTURE(route.to.text());
    CHECK_FALSE(has(route));
    require_ok(add_route(socket, route));
    CHECK(has(route));
  }
}

TEST_CASE("neighbours are set once for all, and replaced") {
  if (!network_usable()) return;
  Namespace space;
  NetlinkSocket& socket = space.socket();
  const Link bridge = value_of(create_bridge(socket, "lambdo0", mac_of("bridge")));
  require_ok(set_up(socket, bridge, true));
  for (const char* text : {"192.168.10.2", "fd00:1::c0a8:a02"}) {
    CAPTURE(text);
    require_ok(set_neighbour(socket, bridge, address(text), mac_of("a")));
    require_ok(set_neighbour(socket, bridge, address(text), mac_of("b")));
    CHECK(value_of(list_neighbours(socket, bridge)) == std::vector{Neighbour{address(text), mac_of("b")}});
    require_ok(delete_neighbour(socket, bridge, address(text)));
    CHECK(value_of(list_neighbours(socket, bridge)).empty());
    CHECK(delete_neighbour(socket, bridge, address(text)).error().code == Code::not_found);
  }
}

TEST_CASE("a forwarding entry belongs to a bridge's port") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("bridge")));
  const Fd tap = value_of(create_tap({.name = "tap0"}));
  const Link port = value_of(find_link(space.socket(), "tap0"));
  CHECK_FALSE(add_forwarding_entry(space.socket(), port, mac_of("guest")));
  require_ok(set_master(space.socket(), port, bridge.index));
  require_ok(add_forwarding_entry(space.socket(), port, mac_of("guest")));
  CHECK(add_forwarding_entry(space.socket(), port, mac_of("guest")).error().os_errno == EEXIST);
  require_ok(delete_forwarding_entry(space.socket(), port, mac_of("guest")));
  CHECK_FALSE(delete_forwarding_entry(space.socket(), port, mac_of("guest")));
}

}  // namespace lambdo::net
