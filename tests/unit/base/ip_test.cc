#include "base/ip.h"

#include <array>
#include <string>

#include "test.h"

namespace lambdo {

template <typename T>
static T value_of(const Result<T>& result) {
  REQUIRE(result);
  return *result;
}

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

TEST_CASE("an address is in a network by its first bits") {
  for (const auto& [network, inside, outside] : {std::array{"10.1.0.0/16", "10.1.2.3", "10.2.2.3"},
                                                 {"10.0.0.0/25", "10.0.0.127", "10.0.0.128"},
                                                 {"fd00::2/64", "fd00::1", "fd00:0:0:1::1"},
                                                 {"fd00::2/128", "fd00::2", "fd00::1"},
                                                 {"::/1", "::1", "10.0.0.1"}}) {
    CAPTURE(network);
    CHECK(value_of(IpSubnet::parse(network)).contains(value_of(IpAddress::parse(inside))));
    CHECK_FALSE(value_of(IpSubnet::parse(network)).contains(value_of(IpAddress::parse(outside))));
  }
  CHECK_FALSE(IpSubnet::parse("10.0.0.1/33"));
}

TEST_CASE("addresses are read and written, and nothing else is taken for one") {
  for (const char* text : {"1.2.3.4", "::1", "2001:db8::1", "::ffff:1.2.3.4"}) {
    const auto address = IpAddress::parse(text);
    REQUIRE(address);
    CHECK(address->text() == text);
  }
  for (const std::string text :
       {"", "1.2.3", "1.2.3.256", "0x7f.1", "2130706433", "01.2.3.4x", "[::1]", "::1%lo", "1.2.3.4 "}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddress::parse(text));
  }
  CHECK_FALSE(IpAddress::parse(std::string("1.2.3.4\0", 8)));
}

TEST_CASE("an address is its bytes in the network's order, and they are an address") {
  using namespace std::string_literals;
  CHECK_EQ(value_of(IpAddress::parse("10.0.2.255")).bytes(), "\x0a\0\x02\xff"s);
  const IpAddress ipv6 = value_of(IpAddress::parse("2001:db8::1"));
  CHECK_EQ(ipv6.bytes(), "\x20\x01\x0d\xb8"s + std::string(11, '\0') + '\1');
  for (const char* text : {"10.0.2.255", "2001:db8::1"}) {
    const IpAddress address = value_of(IpAddress::parse(text));
    CHECK(IpAddress::from_bytes(address.bytes()) == address);
    CHECK_EQ(address.bytes().size() * 8, address.bits());
  }
  for (const size_t size : {0, 3, 5, 15, 17}) CHECK_FALSE(IpAddress::from_bytes(std::string(size, 'a')));
}

}  // namespace lambdo
