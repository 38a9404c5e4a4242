#include "net/ip.h"

#include <algorithm>
#include <cerrno>

#include "fixture.h"
#include "net/tap.h"
#include "test.h"

namespace lambdo::net {

static Ipv4Subnet subnet(const char* text) {
  return value_of(Ipv4Subnet::parse(text));
}

TEST_CASE("addresses are added, listed and deleted") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("bridge")));
  require_ok(add_address(space.socket(), bridge, subnet("192.168.10.1/24")));
  require_ok(add_address(space.socket(), bridge, subnet("10.9.0.1/30")));
  CHECK(value_of(list_addresses(space.socket(), bridge)) ==
        std::vector{subnet("192.168.10.1/24"), subnet("10.9.0.1/30")});
  const auto again = add_address(space.socket(), bridge, subnet("10.9.0.1/30"));
  CHECK(again.error().os_errno == EEXIST);
  CHECK(again.error().message.contains("interface lambdo0"));
  require_ok(delete_address(space.socket(), bridge, subnet("192.168.10.1/24")));
  CHECK(value_of(list_addresses(space.socket(), bridge)) == std::vector{subnet("10.9.0.1/30")});
}

TEST_CASE("routes are added, listed and deleted") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("bridge")));
  require_ok(set_up(space.socket(), bridge, true));
  require_ok(add_address(space.socket(), bridge, subnet("192.168.10.1/24")));
  const Route direct{subnet("10.1.0.0/16"), std::nullopt, bridge.index};
  const Route by_gateway{subnet("0.0.0.0/0"), Ipv4Address{0xc0a80afe}, bridge.index};
  require_ok(add_route(space.socket(), direct));
  require_ok(add_route(space.socket(), by_gateway));
  const auto has = [&](const Route& route) {
    const std::vector<Route> routes = value_of(list_routes(space.socket()));
    return std::ranges::find(routes, route) != routes.end();
  };
  CHECK(has(direct));
  CHECK(has(by_gateway));
  require_ok(delete_route(space.socket(), direct));
  require_ok(delete_route(space.socket(), by_gateway));
  CHECK_FALSE(has(direct));
  CHECK_FALSE(has(by_gateway));
}

TEST_CASE("neighbours are set once for all, and replaced") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("bridge")));
  require_ok(set_up(space.socket(), bridge, true));
  const Ipv4Address address{0xc0a80a02};
  require_ok(set_neighbour(space.socket(), bridge, address, mac_of("a")));
  require_ok(set_neighbour(space.socket(), bridge, address, mac_of("b")));
  CHECK(value_of(list_neighbours(space.socket(), bridge)) == std::vector{Neighbour{address, mac_of("b")}});
  require_ok(delete_neighbour(space.socket(), bridge, address));
  CHECK(value_of(list_neighbours(space.socket(), bridge)).empty());
  CHECK(delete_neighbour(space.socket(), bridge, address).error().code == Code::not_found);
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
