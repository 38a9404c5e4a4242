#include "virtio/rng.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "driver.h"
#include "loopback.h"
#include "test.h"

namespace lambdo::virtio {

using testing::DriverQueue;
using testing::MmioDriver;
using testing::RecordingHost;
using testing::TestMemory;
using testing::Used;

namespace {

constexpr uint64_t kBase = 0x1000;
constexpr uint64_t kData = 0x10000;

struct Machine {
  TestMemory memory{{0, 0x40000}};
  RecordingHost host;
  Rng rng;
  MmioTransport transport{rng, memory.guest(), host};
  MmioDriver mmio{transport};
  DriverQueue queue{memory, kBase, 64};

  [[nodiscard]] std::string bytes_at(uint64_t addr, size_t len_bytes) const {
    return {reinterpret_cast<const char*>(memory.at(addr, len_bytes)), len_bytes};
  }
};

}  // namespace

TEST_CASE("the entropy device fills what the driver lends, and no more") {
  for (const uint64_t features : {kFeatureVersion1, kFeatureVersion1 | kQueueFeatures}) {
    Machine m;
    REQUIRE(m.mmio.start(features, {&m.queue}));
    CHECK_EQ(m.mmio.read(0x08), 4);
    const uint16_t head = m.queue.add({{kData, 32, true}, {kData + 0x100, 16, true}});
    m.mmio.notify(0);
    CHECK_EQ(m.queue.take_used(), Used{head, 48});
    CHECK_EQ(m.host.interrupts, 1);
    CHECK_EQ(m.mmio.read(0x60), 1);
    CHECK_NE(m.bytes_at(kData, 32), std::string(32, '\0'));
    CHECK_NE(m.bytes_at(kData + 0x100, 16), std::string(16, '\0'));
    CHECK_EQ(m.bytes_at(kData + 32, 0x100 - 32), std::string(0x100 - 32, '\0'));
    CHECK_EQ(m.bytes_at(kData + 0x110, 64), std::string(64, '\0'));
  }
}

TEST_CASE("random bytes differ from request to request") {
  Machine m;
  REQUIRE(m.mmio.start(kFeatureVersion1, {&m.queue}));
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    m.queue.add({{kData, 16, true}});
    m.mmio.notify(0);
    REQUIRE(m.queue.take_used().has_value());
    seen.insert(m.bytes_at(kData, 16));
  }
  CHECK_EQ(seen.size(), 100);
}

TEST_CASE("a long request is filled as far as the limit goes, and the driver is told") {
  Machine m;
  REQUIRE(m.mmio.start(kFeatureVersion1, {&m.queue}));
  const uint16_t head = m.queue.add({{kData, 3000, true}, {kData + 0x2000, 0x10000, true}});
  m.mmio.notify(0);
  CHECK_EQ(m.queue.take_used(), Used{head, Rng::kMaxRequestBytes});
  const size_t rest = Rng::kMaxRequestBytes - 3000;
  CHECK_EQ(m.bytes_at(kData + 0x2000 + rest, 64), std::string(64, '\0'));
}

TEST_CASE("a request for nothing gets nothing") {
  Machine m;
  REQUIRE(m.mmio.start(kFeatureVersion1, {&m.queue}));
  const uint16_t head = m.queue.add({{kData, 0, true}});
  m.mmio.notify(0);
  CHECK_EQ(m.queue.take_used(), Used{head, 0});
  CHECK_EQ(m.host.failures, 0);
}

TEST_CASE("one wake-up gives a bounded amount, the rest comes when resumed") {
  struct Case {
    uint32_t request_bytes;
    size_t first;
  };
  const Case cases[] = {{4096, Rng::kWakeUpLimits.bytes / 4096}, {1, Rng::kWakeUpLimits.rounds}};
  for (const Case& c : cases) {
    Machine m;
    REQUIRE(m.mmio.start(kFeatureVersion1, {&m.queue}));
    for (int i = 0; i < 64; ++i) m.queue.add({{kData, c.request_bytes, true}});
    m.mmio.notify(0);
    CHECK_EQ(m.queue.used_index(), c.first);
    CHECK(m.transport.has_work());
    int turns = 0;
    while (m.transport.has_work() && turns < 100) {
      m.transport.resume();
      ++turns;
    }
    CHECK_EQ(m.queue.used_index(), 64);
    CHECK_LT(turns, 20);
    CHECK_EQ(m.queue.used_flags(), 0);
  }
}

TEST_CASE("a device-readable buffer is against the rules: the device needs a reset, and works after it") {
  Machine m;
  REQUIRE(m.mmio.start(kFeatureVersion1, {&m.queue}));
  m.queue.add({{kData, 16, false}, {kData, 16, true}});
  m.mmio.notify(0);
  CHECK_EQ(m.mmio.device_status() & status::kNeedsReset, status::kNeedsReset);
  CHECK_EQ(m.host.failures, 1);
  CHECK_EQ(m.host.last_failure.message, "entropy request has device-readable bytes");
  CHECK_EQ(m.queue.used_index(), 0);

  DriverQueue fresh(m.memory, 0x3000, 8);
  REQUIRE(m.mmio.start(kFeatureVersion1, {&fresh}));
  fresh.add({{kData, 16, true}});
  m.mmio.notify(0);
  CHECK_EQ(fresh.used_index(), 1);
}

TEST_CASE("a driver that kicks without end costs one look each") {
  Machine m;
  REQUIRE(m.mmio.start(kFeatureVersion1, {&m.queue}));
  for (int i = 0; i < 10000; ++i) m.mmio.notify(0);
  CHECK_FALSE(m.transport.has_work());
  CHECK_EQ(m.host.interrupts, 0);
}

}  // namespace lambdo::virtio
