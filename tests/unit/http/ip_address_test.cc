#include "http/ip_address.h"

#include <string>

#include "test.h"

namespace lambdo::http {

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

TEST_CASE("addresses that the Internet does not route are private, however they are written") {
  for (const char* text : {"0.0.0.0",
                           "10.0.0.1",
                           "100.64.0.1",
                           "100.127.255.255",
                           "127.0.0.1",
                           "127.255.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.0.0.1",
                           "192.168.1.1",
                           "198.18.0.1",
                           "198.19.0.1",
                           "224.0.0.1",
                           "255.255.255.255",
                           "240.0.0.1",
                           "::",
                           "::1",
                           "fe80::1",
                           "febf::1",
                           "fc00::1",
                           "fd12::1",
                           "ff02::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "::10.0.0.1",
                           "64:ff9b::a00:1",
                           "64:ff9b:1::1",
                           "2002:a00:1::1",
                           "2001::1",
                           "2001:db8::1",
                           "fec0::1",
                           "100::1",
                           "4000::1"}) {
    CAPTURE(text);
    CHECK(IpAddress::parse(text)->is_private());
  }
  for (const char* text :
       {"1.1.1.1",        "9.255.255.255",    "11.0.0.0",        "100.63.255.255",  "100.128.0.0",
        "126.0.0.1",      "128.0.0.1",        "172.15.0.1",      "172.32.0.1",      "192.167.0.1",
        "198.17.0.1",     "198.20.0.1",       "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
        "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "2001:4860::1",    "3fff:f000::1"}) {
    CAPTURE(text);
    CHECK_FALSE(IpAddress::parse(text)->is_private());
  }
}

TEST_CASE("only loopback addresses are loopback") {
  for (const char* text : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}) {
    CHECK(IpAddress::parse(text)->is_loopback());
  }
  for (const char* text : {"128.0.0.1", "::2", "::", "::ffff:1.0.0.127"}) {
    CHECK_FALSE(IpAddress::parse(text)->is_loopback());
  }
}

}  // namespace lambdo::http
