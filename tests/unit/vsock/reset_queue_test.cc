#include "vsock/reset_queue.h"

#include "test.h"

namespace lambdo::vsock {

TEST_CASE("resets come out in the order they went in, and those beyond the limit are not kept") {
  ResetQueue queue;
  CHECK(queue.empty());
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < ResetQueue::kMaxResets + 10; ++i) queue.push({{round, i}, kTypeStream});
    // One more on the way, so that the next round goes over the end of the array.
    for (uint32_t i = 0; i < ResetQueue::kMaxResets; ++i) {
      REQUIRE_FALSE(queue.empty());
      CHECK(queue.pop().ports == Ports{round, i});
      if (i == 100) queue.push({{round, ResetQueue::kMaxResets + 10}, kTypeStream});
    }
    CHECK(queue.pop().ports == Ports{round, ResetQueue::kMaxResets + 10});
    CHECK(queue.empty());
  }
  queue.push({{1, 2}, kTypeStream});
  queue.clear();
  CHECK(queue.empty());
}

}  // namespace lambdo::vsock
