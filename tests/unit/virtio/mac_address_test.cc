#include "virtio/mac_address.h"

#include <set>

#include "test.h"

namespace lambdo::virtio {

static std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_CASE("a machine's address comes from its identity alone, and is local and unicast") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string identity = "vm-" + std::to_string(i);
    const MacAddress address = MacAddress::of_machine(bytes_of(identity));
    CHECK(address.is_local());
    CHECK(address.is_unicast());
    CHECK(address == MacAddress::of_machine(bytes_of(identity)));
    seen.insert(address.text());
  }
  CHECK_EQ(seen.size(), 1000U);
}

TEST_CASE("an address is printed as it is parsed") {
  const auto address = MacAddress::parse("02:00:5E:10:ff:0a");
  REQUIRE(address.has_value());
  CHECK_EQ(address->text(), "02:00:5e:10:ff:0a");
  CHECK(address->bytes == std::array<uint8_t, 6>{0x02, 0x00, 0x5e, 0x10, 0xff, 0x0a});
  CHECK(MacAddress::parse(address->text()) == address);
  CHECK_FALSE(MacAddress::parse("ff:ff:ff:ff:ff:ff")->is_unicast());
  CHECK_FALSE(MacAddress::parse("00:16:3e:00:00:01")->is_local());
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

}  // namespace lambdo::virtio
