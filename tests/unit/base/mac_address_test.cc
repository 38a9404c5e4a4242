#include "base/mac_address.h"

#include "test.h"

namespace lambdo {

TEST_CASE("an address is printed as it is parsed") {
  const auto address = MacAddress::parse("02:00:5E:10:ff:0a");
  REQUIRE(address.has_value());
  CHECK_EQ(address->text(), "02:00:5e:10:ff:0a");
  CHECK(address->bytes == std::array<uint8_t, 6>{0x02, 0x00, 0x5e, 0x10, 0xff, 0x0a});
  CHECK(MacAddress::parse(address->text()).value() == *address);
  CHECK_FALSE(MacAddress::parse("ff:ff:ff:ff:ff:ff")->is_unicast());
}

TEST_CASE("what is no address is not parsed") {
  for (const std::string_view text :
       {"", "02", "02:00:5e:10:ff", "02:00:5e:10:ff:0a:", "02:00:5e:10:ff:0a:01", "02-00-5e-10-ff-0a",
        "02:00:5e:10:ff:0g", "2:00:5e:10:ff:0a0", "02:00:5e:10:ff:a ", " 2:00:5e:10:ff:0a",
        "+2:00:5e:10:ff:0a", "-2:00:5e:10:ff:0a", "0x:00:5e:10:ff:0a", "02:00:5e:10:ff:0"}) {
    CAPTURE(text);
    CHECK_FALSE(MacAddress::parse(text).has_value());
  }
}

}  // namespace lambdo
