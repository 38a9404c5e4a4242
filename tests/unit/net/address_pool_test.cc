#include "net/address_pool.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "fixture.h"
#include "test.h"

namespace lambdo::net {

static constexpr long long kSecond = 1'000'000'000;

static AddressPool pool_of(const char* subnet, long long quarantine_ns = 10 * kSecond) {
  return {value_of(Ipv4Subnet::parse(subnet)), mac_of("bridge"), quarantine_ns};
}

TEST_CASE("every address of the network is given out once, but for the bridge's and the outermost") {
  for (const char* bridge : {"10.0.0.1/29", "10.0.0.4/29", "10.0.0.6/29"}) {
    CAPTURE(bridge);
    AddressPool pool = pool_of(bridge);
    CHECK(pool.capacity() == 5);
    std::set<std::string> given;
    for (int i = 0; i < 5; ++i) given.insert(value_of(pool.take(std::to_string(i), 0)).address.text());
    CHECK(given.size() == 5);
    for (const char* never : {"10.0.0.0", "10.0.0.7"}) CHECK_FALSE(given.contains(never));
    CHECK_FALSE(given.contains(std::string(bridge).substr(0, 8)));
    const auto none = pool.take("6", 0);
    REQUIRE_FALSE(none);
    CHECK(none.error().code == Code::resource_exhausted);
    CHECK(none.error().message.contains("all 5 addresses of 10.0.0."));
  }
}

TEST_CASE("an address rests before it is given out again") {
  AddressPool pool = pool_of("10.0.0.1/30");
  const Lease first = value_of(pool.take("a", 0));
  CHECK(pool.in_use() == 1);
  pool.give_back(first, 5 * kSecond);
  CHECK(pool.in_use() == 0);
  CHECK(pool.quarantined() == 1);
  CHECK_FALSE(pool.take("a", 5 * kSecond));
  CHECK_FALSE(pool.take("a", 15 * kSecond - 1));
  CHECK(value_of(pool.take("a", 15 * kSecond)) == first);
}

TEST_CASE("addresses come round as late as they can") {
  AddressPool pool = pool_of("10.0.0.1/24", 0);
  std::vector<Ipv4Address> order;
  for (int i = 0; i < 253; ++i) {
    const Lease lease = value_of(pool.take("x", i));
    order.push_back(lease.address);
    pool.give_back(lease, i);
  }
  std::ranges::sort(order);
  CHECK(std::ranges::adjacent_find(order) == order.end());
}

TEST_CASE("of guests with the same identity each has an Ethernet address of its own while it lives") {
  AddressPool pool = pool_of("10.0.0.1/24", 0);
  const Lease first = value_of(pool.take("same", 0));
  const Lease second = value_of(pool.take("same", 0));
  CHECK(first.mac == mac_of("same"));
  CHECK(second.mac != first.mac);
  pool.give_back(first, 0);
  CHECK(value_of(pool.take("same", 0)).mac == first.mac);
  CHECK(value_of(pool.take("bridge", 0)).mac != mac_of("bridge"));
}

TEST_CASE("a thousand guests have a thousand addresses and Ethernet addresses") {
  AddressPool pool = pool_of("10.0.0.1/16");
  std::set<Ipv4Address> addresses;
  std::set<MacAddress> macs;
  for (int i = 0; i < 1000; ++i) {
    const Lease lease = value_of(pool.take("guest " + std::to_string(i), 0));
    addresses.insert(lease.address);
    macs.insert(lease.mac);
  }
  CHECK(addresses.size() == 1000);
  CHECK(macs.size() == 1000);
}

}  // namespace lambdo::net
