#include "kvm/register_access.h"

#include <thread>

#include "test.h"

namespace lambdo::kvm {

TEST_CASE("a vCPU's thread sleeps until its access is answered, and can make the next one") {
  RegisterAccess access;
  for (uint8_t round = 1; round <= 100; ++round) {
    REQUIRE(access.begin({.device = 3, .offset = round, .len_bytes = 1}));
    std::thread reactor([&] {
      CHECK_EQ(access.request().offset, round);
      access.request().data()[0] = std::byte{round};
      access.answer();
    });
    CHECK(access.wait());
    CHECK_EQ(access.request().data()[0], std::byte{round});
    reactor.join();
  }
}

TEST_CASE("an abandoned access ends without an answer, and none is begun after it") {
  RegisterAccess access;
  REQUIRE(access.begin({.offset = 8, .len_bytes = 4}));
  std::thread stopper([&] { access.abandon(); });
  CHECK_FALSE(access.wait());
  stopper.join();
  CHECK_FALSE(access.begin({.offset = 12, .len_bytes = 4}));
  // The reactor may still be at the first one, whose request is left to it.
  CHECK_EQ(access.request().offset, 8);
  access.answer();
  CHECK_FALSE(access.begin({.offset = 12, .len_bytes = 4}));
}

}  // namespace lambdo::kvm
