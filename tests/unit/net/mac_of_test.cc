#include "net/mac_of.h"

#include <string>

#include "fixture.h"
#include "test.h"

namespace lambdo::net {

TEST_CASE("an identity's Ethernet address is its own, locally administered and unicast") {
  CHECK(mac_of("guest 1") == mac_of("guest 1"));
  CHECK(mac_of("guest 1") != mac_of("guest 2"));
  CHECK(mac_of("guest 1", 1) != mac_of("guest 1"));
  for (int i = 0; i < 200; ++i) CHECK((mac_of(std::to_string(i)).bytes[0] & 3) == 2);
}

TEST_CASE("a random Ethernet address is another one each time, locally administered and unicast") {
  const MacAddress first = value_of(random_mac());
  CHECK(first != value_of(random_mac()));
  for (int i = 0; i < 200; ++i) CHECK((value_of(random_mac()).bytes[0] & 3) == 2);
}

}  // namespace lambdo::net
