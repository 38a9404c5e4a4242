#include "net/addresses.h"

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

TEST_CASE("an identity's Ethernet address is its own, locally administered and unicast") {
  CHECK(mac_of("guest 1") == mac_of("guest 1"));
  CHECK(mac_of("guest 1") != mac_of("guest 2"));
  CHECK(mac_of("guest 1", 1) != mac_of("guest 1"));
  for (int i = 0; i < 200; ++i) CHECK((mac_of(std::to_string(i)).bytes[0] & 3) == 2);
}

}  // namespace lambdo::net
