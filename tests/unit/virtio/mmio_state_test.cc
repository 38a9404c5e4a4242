#include "virtio/mmio_state.h"

#include "loopback.h"
#include "test.h"

namespace lambdo::virtio {

using testing::Loopback;

TEST_CASE("a saved state of registers is accepted only where a driver could have reached it") {
  const Loopback device;
  MmioState started;
  started.status = 15;
  started.driver_features = kFeatureVersion1;
  started.queues = {{.max_size = 256}, {.max_size = 16}};
  CHECK(validate(started, device).has_value());

  for (uint32_t value = 0; value < 512; ++value) {
    CAPTURE(value);
    MmioState state = started;
    state.status = value;
    const uint32_t step = value & ~uint32_t{64 | 128};
    const bool reachable = step == 0 || step == 1 || step == 3 || step == 11 || step == 15;
    CHECK_EQ(validate(state, device).has_value(), reachable);
  }
  for (const uint64_t features : {uint64_t{0}, kQueueFeatures, kFeatureVersion1 | 2, ~uint64_t{0}}) {
    CAPTURE(features);
    MmioState state = started;
    state.driver_features = features;
    CHECK_EQ(validate(state, device).error().code, Code::invalid_argument);
    state.status = 3;  // still under negotiation
    CHECK(validate(state, device).has_value());
  }
  for (const uint32_t interrupts : {4U, 0x80000000U}) {
    MmioState state = started;
    state.interrupt_status = interrupts;
    CHECK_FALSE(validate(state, device).has_value());
  }
}

TEST_CASE("a queue has not moved before its device runs") {
  const Loopback device;
  for (const auto field : {0, 1, 2}) {
    CAPTURE(field);
    MmioState state;
    state.status = 11;
    state.driver_features = kFeatureVersion1;
    state.queues = {{.max_size = 256}, {.max_size = 16}};
    CHECK(validate(state, device).has_value());
    state.queues[1].next_avail = field == 0 ? 1 : 0;
    state.queues[1].next_used = field == 1 ? 1 : 0;
    state.queues[1].unsignalled = field == 2 ? 1 : 0;
    CHECK_EQ(validate(state, device).error().message, "a queue was used before DRIVER_OK");
    state.status = 15;
    CHECK(validate(state, device).has_value());
  }
}

TEST_CASE("every device offers VIRTIO_F_VERSION_1") {
  const Loopback device;
  CHECK_EQ(offered_features(device), device.features() | kFeatureVersion1);
}

}  // namespace lambdo::virtio
