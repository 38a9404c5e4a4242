#include "net/addresses.h"

#include <array>
#include <string>

#include "fixture.h"
#include "test.h"

namespace lambdo::net {

TEST_CASE("a network is an address with a prefix length, and nothing else is one") {
  const Ipv4Subnet subnet = value_of(Ipv4Subnet::parse("192.168.10.1/24"));
  CHECK(subnet.address.text() == "192.168.10.1");
  CHECK(subnet.network().text() == "192.168.10.0");
  CHECK(subnet.broadcast().text() == "192.168.10.255");
  CHECK(subnet.text() == "192.168.10.1/24");
  CHECK(subnet.contains(value_of(Ipv4Address::parse("192.168.10.77"))));
  CHECK_FALSE(subnet.contains(value_of(Ipv4Address::parse("192.168.11.1"))));
  CHECK(value_of(Ipv4Subnet::parse("10.0.0.1")).prefix_len == 32);
  CHECK(value_of(Ipv4Subnet::parse("0.0.0.0/0")).contains(Ipv4Address{0xffffffff}));
  for (const char* bad : {"", "/24", "192.168.10.1/", "192.168.10.1/33", "192.168.10.1/-1", "192.168.10/24",
                          "192.168.10.1/24 ", " 192.168.10.1/24", "192.168.10.256/24", "::1/64", "a/24"}) {
    CAPTURE(bad);
    CHECK_FALSE(Ipv4Subnet::parse(bad));
  }
  CHECK_FALSE(Ipv4Address::parse(std::string_view("10.0.0.1\0x", 10)));
}

TEST_CASE("an IPv6 network is an address with a prefix length, and holds a guest's IPv4 address") {
  const Ipv6Subnet subnet = value_of(Ipv6Subnet::parse("fd12:3456:789a:1::1/64"));
  CHECK(subnet.text() == "fd12:3456:789a:1::1/64");
  CHECK(subnet.network().text() == "fd12:3456:789a:1::");
  CHECK(subnet.contains(value_of(Ipv6Address::parse("fd12:3456:789a:1:ffff::"))));
  CHECK_FALSE(subnet.contains(value_of(Ipv6Address::parse("fd12:3456:789a:2::1"))));
  CHECK(value_of(Ipv6Subnet::parse("2001:db8:ffff::/29")).network().text() == "2001:db8::");
  CHECK(value_of(Ipv6Subnet::parse("::1")).prefix_len == 128);
  CHECK(value_of(Ipv6Subnet::parse("::/0")).contains(subnet.address));
  CHECK(address_in(subnet, value_of(Ipv4Address::parse("192.168.10.5"))).text() ==
        "fd12:3456:789a:1::c0a8:a05");
  for (const char* bad : {"", "/64", "fd00::1/", "fd00::1/129", "fd00::1/-1", "fd00:::1/64", "fd00::1 /64",
                          "[fd00::1]", "fe80::1%lo", "10.0.0.1/24", "g::1"}) {
    CAPTURE(bad);
    CHECK_FALSE(Ipv6Subnet::parse(bad));
  }
}

TEST_CASE("a network of either family holds addresses of its own one") {
  for (const auto& [network, inside, outside] : {std::array{"10.1.2.3/8", "10.255.0.1", "11.0.0.1"},
                                                 {"10.1.2.3/8", "10.0.0.0", "a00::"},
                                                 {"2001:db8::1/64", "2001:db8::ffff", "2001:db8:0:1::"},
                                                 {"::/0", "::1", "0.0.0.0"}}) {
    CAPTURE(network);
    const IpSubnet subnet = value_of(IpSubnet::parse(network));
    CHECK(subnet.contains(value_of(IpAddress::parse(inside))));
    CHECK_FALSE(subnet.contains(value_of(IpAddress::parse(outside))));
  }
  CHECK(value_of(IpSubnet::parse("10.1.2.3/8")).prefix_text() == "10.0.0.0/8");
  CHECK(value_of(IpSubnet::parse("2001:db8::1/32")).prefix_text() == "2001:db8::/32");
  CHECK(value_of(IpAddress::parse("2001:db8::53")).is_ipv6());
  CHECK_FALSE(value_of(IpAddress::parse("192.0.2.53")).is_ipv6());
}

TEST_CASE("an identity's Ethernet address is its own, locally administered and unicast") {
  CHECK(mac_of("guest 1") == mac_of("guest 1"));
  CHECK(mac_of("guest 1") != mac_of("guest 2"));
  CHECK(mac_of("guest 1", 1) != mac_of("guest 1"));
  for (int i = 0; i < 200; ++i) CHECK((mac_of(std::to_string(i)).bytes[0] & 3) == 2);
}

}  // namespace lambdo::net
