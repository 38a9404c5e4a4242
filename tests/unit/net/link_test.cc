#include "net/link.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/syscalls.h"
#include "fixture.h"
#include "net/tap.h"
#include "test.h"

namespace lambdo::net {

TEST_CASE("a name that rules, paths or journals could misread is no interface's name") {
  for (const char* good : {"lambdo0", "a", "br-lan.1_x", "fifteen_letters"}) CHECK(check_link_name(good));
  for (const char* bad :
       {"", ".", "..", "-x", ".x", "sixteen_letters_", "a/b", "a b", "a\"b", "a*", "a:1", "a\n"}) {
    CAPTURE(bad);
    CHECK_FALSE(check_link_name(bad));
  }
}

TEST_CASE("a bridge is made as told, found, listed and deleted") {
  if (!network_usable()) return;
  Namespace space;
  const MacAddress mac = mac_of("bridge");
  const Link made = value_of(create_bridge(space.socket(), "lambdo0", mac));
  CHECK(made.kind == "bridge");
  CHECK(made.mac == mac);
  CHECK_FALSE(made.up);
  CHECK(value_of(sys::read_file("/sys/class/net/lambdo0/bridge/stp_state")) == "0\n");
  require_ok(set_up(space.socket(), made, true));
  require_ok(set_alias(space.socket(), made, "lambdo: x"));
  require_ok(set_mtu(space.socket(), made, 1400));
  require_ok(set_mac(space.socket(), made, mac_of("other")));
  const Link found = value_of(find_link(space.socket(), "lambdo0"));
  CHECK(found.up);
  CHECK(found.alias == "lambdo: x");
  CHECK(found.mtu == 1400);
  CHECK(found.mac == mac_of("other"));
  CHECK(value_of(list_links(space.socket(), "lambdo")).size() == 1);
  CHECK(value_of(list_links(space.socket(), "")).size() == 2);
  require_ok(delete_link(space.socket(), made));
  CHECK(find_link(space.socket(), "lambdo0").error().code == Code::not_found);
}

TEST_CASE("what the kernel refuses is told with the interface's name") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("a")));
  const auto again = create_bridge(space.socket(), "lambdo0", mac_of("b"));
  REQUIRE_FALSE(again);
  CHECK(again.error().os_errno == EEXIST);
  CHECK(again.error().message.starts_with("create bridge lambdo0: File exists"));
  require_ok(delete_link(space.socket(), bridge));
  const auto gone = set_up(space.socket(), bridge, true);
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == Code::not_found);
  CHECK(gone.error().message.starts_with("set up interface lambdo0: "));
  const auto missing = find_link(space.socket(), "absent");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::not_found);
  CHECK(missing.error().message.starts_with("network interface absent: "));
}

TEST_CASE("a veth pair's far end is in the other namespace") {
  if (!network_usable()) return;
  const Namespace outside;
  Namespace space;
  const Link near = value_of(
      create_veth(space.socket(), {"near", mac_of("near")}, {"far", mac_of("far")}, outside.handle()));
  CHECK(near.kind == "veth");
  CHECK(near.mac == mac_of("near"));
  CHECK_FALSE(find_link(space.socket(), "far"));
  outside.inside([&] {
    NetlinkSocket socket = value_of(NetlinkSocket::open());
    CHECK(value_of(find_link(socket, "far")).mac == mac_of("far"));
  });
  require_ok(delete_link(space.socket(), near));
  outside.inside([&] {
    NetlinkSocket socket = value_of(NetlinkSocket::open());
    CHECK_FALSE(find_link(socket, "far"));
  });
}

static std::string port_flag(const std::string& port, const std::string& flag) {
  return value_of(sys::read_file("/sys/class/net/" + port + "/brport/" + flag));
}

TEST_CASE("a bridge's port has the flags of a guest's") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("bridge")));
  const Fd tap = value_of(create_tap({.name = "tap0"}));
  const Link port = value_of(find_link(space.socket(), "tap0"));
  CHECK(port.kind == "tun");
  require_ok(set_master(space.socket(), port, bridge.index));
  require_ok(set_port_flags(space.socket(), port, {}));
  CHECK(value_of(find_link(space.socket(), "tap0")).master == bridge.index);
  for (const char* off : {"learning", "unicast_flood", "multicast_flood", "broadcast_flood"}) {
    CHECK(port_flag("tap0", off) == "0\n");
  }
  CHECK(port_flag("tap0", "isolated") == "1\n");
  CHECK(port_flag("tap0", "bpdu_guard") == "1\n");
  require_ok(set_master(space.socket(), port, 0));
  CHECK(value_of(find_link(space.socket(), "tap0")).master == 0);
}

TEST_CASE("an interface without IPv6 makes itself no address") {
  if (!network_usable()) return;
  Namespace space;
  const Link bridge = value_of(create_bridge(space.socket(), "lambdo0", mac_of("bridge")));
  require_ok(disable_ipv6(space.socket(), bridge));
  require_ok(set_up(space.socket(), bridge, true));
  const auto written = sys::read_file("/proc/sys/net/ipv6/conf/lambdo0/disable_ipv6");
  if (written) CHECK(*written == "1\n");
  const auto addresses = sys::read_file("/proc/net/if_inet6");
  if (addresses) CHECK_FALSE(addresses->contains("lambdo0"));
}

TEST_CASE("a TAP ends with its descriptor, but for a persistent one") {
  if (!network_usable()) return;
  Namespace space;
  Fd tap = value_of(create_tap({.name = "tap0"}));
  CHECK(find_link(space.socket(), "tap0"));
  CHECK(create_tap({.name = "tap0"}).error().os_errno == EBUSY);
  tap.reset();
  CHECK_FALSE(find_link(space.socket(), "tap0"));

  tap = value_of(create_tap({.name = "tap1", .owner = 1234, .persistent = true}));
  CHECK(value_of(sys::read_file("/sys/class/net/tap1/owner")) == "1234\n");
  tap.reset();
  CHECK(find_link(space.socket(), "tap1"));
  CHECK_FALSE(create_tap({.name = "tap1"}));
  tap = value_of(open_tap("tap1"));
  require_ok(set_tap_persistent(tap, false));
  tap.reset();
  CHECK_FALSE(find_link(space.socket(), "tap1"));
}

}  // namespace lambdo::net
