#include "base/special_networks.h"

#include <array>
#include <set>
#include <string>

#include "test.h"

namespace lambdo {

using enum NetworkKind;

static std::vector<std::string> texts_of(NetworkKinds kinds, bool ipv6) {
  std::vector<std::string> texts;
  for (const IpSubnet& network : networks_of(kinds, ipv6)) texts.push_back(network.text());
  return texts;
}

TEST_CASE("each row of the table is a network, named once") {
  std::set<std::string> seen;
  for (const SpecialNetwork& row : special_networks()) {
    CAPTURE(row.network.text());
    CHECK(row.network.network() == row.network.address);
    CHECK(seen.insert(row.network.text()).second);
    CHECK_FALSE(row.name.empty());
  }
}

TEST_CASE("networks are selected by kind and family, and none lies within another") {
  CHECK(texts_of({private_use}, false) ==
        std::vector<std::string>{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"});
  CHECK(texts_of({loopback, this_network}, true) == std::vector<std::string>{"::/128", "::1/128"});
  CHECK(texts_of({shared, cloud_metadata, protocol_assignment}, false) ==
        std::vector<std::string>{"100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24"});
  CHECK(texts_of({private_use, cloud_metadata}, true) == std::vector<std::string>{"fc00::/7", "fec0::/10"});
  CHECK(texts_of({}, false).empty());
}

TEST_CASE("an address is special by the networks that have it") {
  CHECK(is_special(*IpAddress::parse("100.100.100.200"), {cloud_metadata}));
  CHECK(is_special(*IpAddress::parse("100.100.100.200"), {shared}));
  CHECK_FALSE(is_special(*IpAddress::parse("100.100.100.201"), {cloud_metadata}));
  CHECK_FALSE(is_special(*IpAddress::parse("1.1.1.1"), {private_use, loopback, link_local, reserved}));
  CHECK(is_special(*IpAddress::parse("2001::1"), {ipv4_carrier}));
}

TEST_CASE("an IPv6 address that stands for an IPv4 address tells which") {
  for (const auto& [ipv6, ipv4] : {std::array{"::ffff:10.1.2.3", "10.1.2.3"},
                                   {"::10.1.2.3", "10.1.2.3"},
                                   {"64:ff9b::a01:203", "10.1.2.3"},
                                   {"2002:a01:203:ffff::1", "10.1.2.3"},
                                   {"::1", "0.0.0.1"}}) {
    CAPTURE(ipv6);
    CHECK(carried_ipv4(*Ipv6Address::parse(ipv6)) == *Ipv4Address::parse(ipv4));
  }
  for (const char* text : {"2001::a01:203", "64:ff9b:1::a01:203", "2606:4700::1111", "fe80::a01:203"}) {
    CHECK_FALSE(carried_ipv4(*Ipv6Address::parse(text)));
  }
}

TEST_CASE("only loopback addresses are loopback") {
  for (const char* text : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}) {
    CHECK(is_loopback(*IpAddress::parse(text)));
  }
  for (const char* text : {"128.0.0.1", "::2", "::", "::ffff:1.0.0.127"}) {
    CHECK_FALSE(is_loopback(*IpAddress::parse(text)));
  }
}

TEST_CASE(
    "an interface can have an address that is neither this network's, loopback, multicast nor reserved") {
  for (const char* text : {"10.0.0.1", "169.254.1.1", "1.1.1.1", "192.0.2.1", "223.255.255.255", "fe80::1",
                           "fd00::1", "2001:db8::1", "::ffff:127.0.0.1", "fec0::1"}) {
    CAPTURE(text);
    CHECK(is_host_address(*IpAddress::parse(text)));
  }
  for (const char* text : {"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
                           "::", "::1", "ff02::1"}) {
    CAPTURE(text);
    CHECK_FALSE(is_host_address(*IpAddress::parse(text)));
  }
}

}  // namespace lambdo
