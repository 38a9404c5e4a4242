#include "http/client/private_address.h"

#include "test.h"

namespace lambdo::http {

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
    CHECK(is_private(*IpAddress::parse(text)));
  }
  for (const char* text :
       {"1.1.1.1",        "9.255.255.255",    "11.0.0.0",        "100.63.255.255",  "100.128.0.0",
        "126.0.0.1",      "128.0.0.1",        "172.15.0.1",      "172.32.0.1",      "192.167.0.1",
        "198.17.0.1",     "198.20.0.1",       "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
        "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "2001:4860::1",    "3fff:f000::1"}) {
    CAPTURE(text);
    CHECK_FALSE(is_private(*IpAddress::parse(text)));
  }
}

}  // namespace lambdo::http
