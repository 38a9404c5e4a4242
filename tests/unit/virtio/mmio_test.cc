#include "virtio/mmio.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "driver.h"
#include "loopback.h"
#include "test.h"

namespace lambdo::virtio {

using testing::DriverQueue;
using testing::Loopback;
using testing::MmioDriver;
using testing::RecordingHost;
using testing::TestMemory;
using testing::Used;

namespace {

constexpr uint64_t kData = 0x8000;
constexpr uint32_t kStarted =
    status::kAcknowledge | status::kDriver | status::kFeaturesOk | status::kDriverOk;

struct Machine {
  TestMemory memory{{0, 0x10000}};
  RecordingHost host;
  Loopback device;
  MmioTransport transport{device, memory.guest(), host};
  MmioDriver mmio{transport};
  DriverQueue first{memory, 0x1000, 16};
  DriverQueue second{memory, 0x2000, 8};

  bool start(uint64_t features = kFeatureVersion1) { return mmio.start(features, {&first, &second}); }
  [[nodiscard]] bool needs_reset() const { return (mmio.device_status() & status::kNeedsReset) != 0; }
  void send(DriverQueue& queue, uint32_t index) {
    queue.add({{kData, 8, false}, {kData + 0x100, 8, true}});
    mmio.notify(index);
  }
};

}  // namespace

TEST_CASE("every register reads as virtio 1.2, 4.2.2 says, after reset") {
  const Machine m;
  struct Case {
    uint64_t offset;
    uint32_t value;
  };
  const Case known[] = {{0x00, 0x74726976}, {0x04, 2},          {0x08, 42},         {0x0c, 0x444d424c},
                        {0x10, 0x30000001}, {0x34, 256},        {0xb0, 0xffffffff}, {0xb4, 0xffffffff},
                        {0xb8, 0xffffffff}, {0xbc, 0xffffffff}};
  for (uint64_t offset = 0; offset < 0x100; offset += 4) {
    CAPTURE(offset);
    const auto* found = std::ranges::find(known, offset, &Case::offset);
    CHECK_EQ(m.mmio.read(offset), found == std::end(known) ? 0 : found->value);
  }
}

TEST_CASE("registers answer aligned accesses of 4 bytes and no others") {
  Machine m;
  REQUIRE(m.start());
  const MmioState before = m.transport.save();
  for (uint64_t offset = 0; offset < 0x100; ++offset) {
    for (const size_t len_bytes : {0, 1, 2, 3, 4, 5, 8, 16}) {
      if (offset % 4 == 0 && len_bytes == 4) continue;
      CAPTURE(offset);
      CAPTURE(len_bytes);
      std::vector<std::byte> bytes(len_bytes, std::byte{0xff});
      m.transport.write(offset, bytes);
      m.transport.read(offset, bytes);
      CHECK(std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; }));
    }
  }
  CHECK_EQ(m.transport.save(), before);
  CHECK_EQ(m.device.notifications, 0);
}

TEST_CASE("writes to registers that are for reading only, or unknown, change nothing") {
  Machine m;
  REQUIRE(m.start());
  const MmioState before = m.transport.save();
  const std::array<uint64_t, 15> written = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64,
                                            0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4};
  for (uint64_t offset = 0; offset < 0x100; offset += 4) {
    if (std::ranges::find(written, offset) != written.end()) continue;
    CAPTURE(offset);
    m.mmio.write(offset, 0xffffffff);
    m.mmio.write(offset, 1);
    CHECK_EQ(m.transport.save(), before);
  }
}

TEST_CASE("the configuration space answers every width and alignment, zero beyond its end") {
  Machine m;
  CHECK(m.mmio.negotiate(kFeatureVersion1));
  for (size_t i = 0; i < m.device.config.size(); ++i) m.device.config[i] = static_cast<std::byte>(i + 1);
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  for (uint64_t offset = 0; offset < 24; ++offset) {
    for (const size_t len_bytes : {1, 2, 3, 4, 8, 16}) {
      std::vector<std::byte> bytes(len_bytes, std::byte{0xff});
      m.transport.read(0x100 + offset, bytes);
      for (size_t i = 0; i < len_bytes; ++i) {
        CHECK_EQ(std::to_integer<uint64_t>(bytes[i]), offset + i < 12 ? offset + i + 1 : 0);
      }
    }
  }
  std::array<std::byte, 4> bytes = {std::byte{9}, std::byte{9}, std::byte{9}, std::byte{9}};
  m.transport.read(kMax, bytes);
  CHECK_EQ(bytes, std::array<std::byte, 4>{});
  m.transport.write(0x100 + 10, std::array{std::byte{0xaa}, std::byte{0xbb}, std::byte{0xcc}});
  CHECK_EQ(m.device.config[11], std::byte{0xbb});
  m.transport.write(kMax, bytes);
  // An access from the registers into the configuration space is neither.
  std::array<std::byte, 4> across{};
  m.transport.read(0xfe, across);
  CHECK_EQ(across, std::array<std::byte, 4>{});
}

TEST_CASE("the configuration space is written by a driver only") {
  Machine m;
  m.mmio.write(0x100, 1);
  m.mmio.set_status(status::kAcknowledge);
  m.mmio.write(0x100, 1);
  CHECK_EQ(m.device.config_writes, 0);
  m.mmio.set_status(status::kDriver);
  m.mmio.write(0x100, 1);
  CHECK_EQ(m.device.config_writes, 1);
  m.mmio.set_status(status::kFailed);
  m.mmio.write(0x100, 1);
  CHECK_EQ(m.device.config_writes, 1);
}

TEST_CASE("features are shown and taken by halves") {
  Machine m;
  const std::array<uint32_t, 4> shown = {0x30000001, 1, 0, 0};
  for (uint32_t select = 0; select < shown.size(); ++select) {
    m.mmio.write(0x14, select);
    CHECK_EQ(m.mmio.read(0x10), shown[select]);
  }
  m.mmio.write(0x14, 0xffffffff);
  CHECK_EQ(m.mmio.read(0x10), 0);

  struct Case {
    uint64_t features;
    bool accepted;
  };
  const Case cases[] = {{kFeatureVersion1, true},
                        {kFeatureVersion1 | kQueueFeatures | 1, true},
                        {kFeatureVersion1 | kFeatureEventIdx, true},
                        {0, false},
                        {kQueueFeatures, false},
                        {kFeatureVersion1 | 2, false},
                        {kFeatureVersion1 | uint64_t{1} << 33, false},
                        {kFeatureVersion1 | uint64_t{1} << 34, false},
                        {~uint64_t{0}, false}};
  for (const Case& c : cases) {
    CAPTURE(c.features);
    CHECK_EQ(m.mmio.negotiate(c.features), c.accepted);
  }
  // Halves that do not exist are not taken, nor is anything before DRIVER or after FEATURES_OK.
  m.mmio.write(0x70, 0);
  m.mmio.write_features(kFeatureVersion1);
  CHECK_EQ(m.transport.save().driver_features, 0);
  REQUIRE(m.mmio.negotiate(kFeatureVersion1));
  m.mmio.write_features(kFeatureVersion1 | 1);
  CHECK_EQ(m.transport.save().driver_features, kFeatureVersion1);
  m.mmio.write(0x70, 0);
  m.mmio.write(0x70, 3);
  m.mmio.write(0x24, 2);
  m.mmio.write(0x20, 0xffffffff);
  CHECK_EQ(m.transport.save().driver_features, 0);
}

TEST_CASE("refused features can be offered again, less of them") {
  Machine m;
  CHECK_FALSE(m.mmio.negotiate(kFeatureVersion1 | 4));
  CHECK_EQ(m.mmio.device_status(), 3);
  m.mmio.write_features(kFeatureVersion1);
  m.mmio.set_status(status::kFeaturesOk);
  CHECK_EQ(m.mmio.device_status(), 11);
}

TEST_CASE("the status only goes the way of virtio 1.2, 3.1.1") {
  struct Case {
    std::string name;
    std::vector<uint32_t> writes;
    uint32_t status;
  };
  const Case cases[] = {
      {"in order", {1, 3, 11, 15}, 15},
      {"at once", {15}, 15},
      {"driver first", {2}, 0},
      {"features first", {8}, 0},
      {"driver ok first", {4}, 0},
      {"driver ok without features", {1, 3, 7}, 3},
      {"features without driver", {1, 9}, 1},
      {"driver ok without driver", {1, 5}, 1},
      {"clearing a bit", {1, 3, 11, 3}, 11},
      {"clearing acknowledge", {1, 2}, 1},
      {"unknown bits", {1 | 16 | 32 | 256 | 0x80000000}, 1},
      {"needs reset by the driver", {1, 1 | 64}, 1},
      {"failed", {1, 3, 3 | 128}, 3 | 128},
      {"failed at first", {128}, 128},
      {"nothing after failed", {1, 1 | 128, 3 | 128}, 1 | 128},
      {"failed and more at once", {1, 3 | 128}, 1 | 128},
      {"reset after failed", {1, 1 | 128, 0}, 0},
      {"reset and again", {1, 3, 11, 15, 0, 1}, 1},
      {"twice the same", {1, 1, 3, 3, 11, 11, 15, 15}, 15},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m;
    for (const uint32_t value : c.writes) {
      // As a driver would that knows its features in advance.
      m.mmio.write_features(kFeatureVersion1);
      if (c.name == "at once") {
        m.mmio.write(0x70, 3);
        m.mmio.write_features(kFeatureVersion1);
      }
      m.mmio.write(0x70, value);
    }
    CHECK_EQ(m.mmio.device_status(), c.status);
    CHECK_EQ(m.device.activations, c.status == 15 || c.name == "reset and again" ? 1 : 0);
  }
}

TEST_CASE("a device that is started answers requests, by register and by notify") {
  for (const uint64_t features : {kFeatureVersion1, kFeatureVersion1 | kQueueFeatures}) {
    Machine m;
    REQUIRE(m.start(features));
    std::memcpy(m.memory.at(kData, 8), "question", 8);
    m.first.set_used_event(0);
    m.send(m.first, 0);
    CHECK_EQ(m.first.take_used(), Used{0, 8});
    CHECK_EQ(std::memcmp(m.memory.at(kData + 0x100, 8), "question", 8), 0);
    CHECK_EQ(m.host.interrupts, 1);
    CHECK_EQ(m.mmio.read(0x60), 1);
    m.mmio.write(0x64, 2);
    CHECK_EQ(m.mmio.read(0x60), 1);
    m.mmio.write(0x64, 1);
    CHECK_EQ(m.mmio.read(0x60), 0);
    m.first.set_used_event(1);
    m.first.add({{kData, 4, false}, {kData + 0x200, 2, true}});
    m.transport.notify(0);
    CHECK_EQ(m.first.take_used()->len_bytes, 2);
    CHECK_EQ(m.host.interrupts, 2);
    CHECK_EQ(m.device.context()->features, features);
  }
}

TEST_CASE("notifications of no queue, or while the device does not run, are ignored") {
  Machine m;
  m.mmio.notify(0);
  m.transport.notify(0);
  CHECK(m.mmio.negotiate(kFeatureVersion1));
  m.mmio.notify(0);
  REQUIRE(m.start());
  for (const uint32_t queue : {2U, 7U, 8U, 31U, 32U, 65535U, 65536U, 0xffffffffU}) m.mmio.notify(queue);
  m.transport.notify(2);
  m.transport.notify(65535);
  CHECK_EQ(m.device.notifications, 0);
  m.mmio.set_status(status::kFailed);
  m.mmio.notify(0);
  CHECK_EQ(m.device.notifications, 0);
  m.mmio.write(0x70, 0);
  m.mmio.notify(0);
  CHECK_EQ(m.device.notifications, 0);
}

TEST_CASE("a queue that does not exist has size 0 and takes nothing") {
  Machine m;
  REQUIRE(m.mmio.negotiate(kFeatureVersion1));
  for (const uint32_t select : {2U, 8U, 0xffffU, 0x10000U, 0xffffffffU}) {
    m.mmio.write(0x30, select);
    const MmioState before = m.transport.save();
    CHECK_EQ(m.mmio.read(0x34), 0);
    for (const uint64_t offset : {0x38, 0x44, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4}) m.mmio.write(offset, 1);
    CHECK_EQ(m.mmio.read(0x44), 0);
    CHECK_EQ(m.transport.save(), before);
  }
  m.mmio.write(0x30, 1);
  CHECK_EQ(m.mmio.read(0x34), 16);
}

TEST_CASE("a queue is set up between FEATURES_OK and DRIVER_OK, while it is not ready") {
  constexpr std::array<uint64_t, 7> kSetUp = {0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4};
  const auto rewrite = [&](Machine& m) {
    const MmioState before = m.transport.save();
    for (const uint64_t offset : kSetUp) m.mmio.write(offset, 0x10);
    return m.transport.save() != before;
  };
  Machine m;
  CHECK_FALSE(rewrite(m));
  m.mmio.write(0x44, 1);
  CHECK_EQ(m.mmio.read(0x44), 0);
  m.mmio.write(0x70, 3);
  CHECK_FALSE(rewrite(m));
  REQUIRE(m.mmio.negotiate(kFeatureVersion1));
  CHECK(rewrite(m));
  CHECK_EQ(m.transport.save().queues[0].device_addr, 0x1000000010);
  m.mmio.set_up_queue(0, m.first);
  CHECK_EQ(m.mmio.read(0x44), 1);
  CHECK_EQ(m.transport.save().queues[0].device_addr, m.first.device_addr());
  CHECK_FALSE(rewrite(m));
  m.mmio.write(0x44, 2);
  CHECK_EQ(m.mmio.read(0x44), 1);
  m.mmio.write(0x44, 0);
  CHECK_EQ(m.mmio.read(0x44), 0);
  CHECK(rewrite(m));

  REQUIRE(m.start());
  m.mmio.write(0x30, 0);
  CHECK_FALSE(rewrite(m));
  m.mmio.write(0x44, 1);
  m.send(m.first, 0);
  CHECK_EQ(m.first.take_used()->len_bytes, 8);
}

TEST_CASE("a running queue that the driver takes back stays back until reset") {
  Machine m;
  REQUIRE(m.start());
  m.mmio.write(0x30, 0);
  m.mmio.write(0x44, 0);
  CHECK_EQ(m.mmio.read(0x44), 0);
  m.mmio.write(0x44, 1);
  CHECK_EQ(m.mmio.read(0x44), 0);
  m.send(m.first, 0);
  CHECK_EQ(m.first.used_index(), 0);
  m.send(m.second, 1);
  CHECK(m.device.complete_held().has_value());
  CHECK_EQ(m.second.used_index(), 1);
  CHECK_FALSE(m.needs_reset());
}

TEST_CASE("a queue set up against the rules fails DRIVER_OK with NEEDS_RESET and a configuration interrupt") {
  struct Case {
    std::string name;
    uint64_t offset;
    uint32_t value;
    std::string error;
  };
  const Case cases[] = {
      {"size 0", 0x38, 0, "queue 0: queue size 0"},
      {"size 12", 0x38, 12, "queue 0: queue size 12"},
      {"size 512", 0x38, 512, "queue 0: queue size 512"},
      {"size 65536 + 16", 0x38, 65536 + 16, "queue 0: queue size 65535"},
      {"descriptor table off its alignment", 0x80, 0x1004, "queue 0: descriptor table at 0x1004"},
      {"available ring off its alignment", 0x90, 0x1101, "queue 0: available ring"},
      {"used ring off its alignment", 0xa0, 0x1202, "queue 0: used ring"},
      {"descriptor table outside", 0x84, 1, "queue 0: descriptor table: 256 bytes at guest address 0x100001000"},
      {"available ring outside", 0x94, 0xffffffff, "queue 0: available ring"},
      {"used ring outside", 0xa4, 0xffffffff, "queue 0: used ring"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m;
    REQUIRE(m.mmio.negotiate(kFeatureVersion1));
    m.mmio.set_up_queue(0, m.first);
    m.mmio.write(0x44, 0);
    m.mmio.write(c.offset, c.value);
    m.mmio.write(0x44, 1);
    m.mmio.set_status(status::kDriverOk);
    CHECK_EQ(m.mmio.device_status(), kStarted | status::kNeedsReset);
    CHECK_EQ(m.mmio.read(0x60), 2);
    CHECK_EQ(m.host.interrupts, 1);
    CHECK_EQ(m.host.failures, 1);
    CHECK_EQ(m.host.last_failure.message.substr(0, c.error.size()), c.error);
    CHECK_EQ(m.device.activations, 0);
    CHECK_EQ(m.device.resets, 0);
    m.mmio.notify(0);
    CHECK_EQ(m.device.notifications, 0);
    CHECK(m.start());
  }
}

TEST_CASE("a device that refuses to start needs a reset") {
  Machine m;
  m.device.refuse_activation = true;
  CHECK_FALSE(m.start());
  CHECK(m.needs_reset());
  m.device.refuse_activation = false;
  CHECK(m.start());
}

TEST_CASE("a device starts with the queues that its driver made ready, the others have nothing") {
  Machine m;
  REQUIRE(m.mmio.start(kFeatureVersion1, {&m.first}));
  m.send(m.second, 1);
  CHECK_EQ(m.device.held(), 0);
  m.send(m.first, 0);
  CHECK_EQ(m.first.used_index(), 1);
}

TEST_CASE("DRIVER_OK starts a device once") {
  Machine m;
  REQUIRE(m.start());
  for (int i = 0; i < 3; ++i) m.mmio.write(0x70, kStarted);
  CHECK_EQ(m.device.activations, 1);
}

TEST_CASE("a driver that breaks the queue's rules gets NEEDS_RESET, and a working device after the reset") {
  struct Case {
    std::string name;
    std::function<void(Machine&)> act;
  };
  const Case cases[] = {
      {"index jump", [](Machine& m) { m.first.set_avail_index(17); }},
      {"index back", [](Machine& m) { m.first.set_avail_index(0xffff); }},
      {"head outside", [](Machine& m) { m.first.offer(16); }},
      {"loop",
       [](Machine& m) {
         m.first.set_descriptor(0, {kData, 8, Descriptor::kNext, 0});
         m.first.offer(0);
       }},
      {"indirect that was not negotiated", [](Machine& m) { m.first.add_indirect({{kData, 8, true}}, 0x4000); }},
      {"buffer outside", [](Machine& m) { m.first.add({{0xfffff000, 8, true}}); }},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m;
    REQUIRE(m.start());
    c.act(m);
    m.mmio.notify(0);
    CHECK(m.needs_reset());
    CHECK_EQ(m.mmio.read(0x60), 2);
    CHECK_EQ(m.host.interrupts, 1);
    CHECK_EQ(m.host.failures, 1);
    CHECK_EQ(m.host.last_failure.code, Code::invalid_argument);
    // Nothing more, from either queue, until the reset.
    m.mmio.notify(0);
    m.mmio.notify(1);
    CHECK_EQ(m.device.notifications, 1);
    CHECK_EQ(m.host.failures, 1);
    m.mmio.write(0x70, m.mmio.device_status() & ~status::kNeedsReset);
    CHECK(m.needs_reset());
    m.mmio.write(0x70, 0);
    CHECK_EQ(m.mmio.device_status(), 0);
    CHECK_EQ(m.mmio.read(0x60), 0);
    CHECK_EQ(m.device.resets, 1);
    DriverQueue fresh(m.memory, 0x5000, 4);
    REQUIRE(m.mmio.start(kFeatureVersion1, {&fresh, &m.second}));
    m.send(fresh, 0);
    CHECK_EQ(fresh.take_used()->len_bytes, 8);
  }
}

TEST_CASE("a device's own failure, outside of a notification, stops it the same way") {
  Machine m;
  REQUIRE(m.start());
  m.send(m.second, 1);
  CHECK_EQ(m.device.held(), 1);
  m.device.context()->interrupt.fail(Error{Code::io, 5, "backend gone"});
  m.device.context()->interrupt.fail(Error{Code::io, 5, "backend still gone"});
  CHECK(m.needs_reset());
  CHECK_EQ(m.host.failures, 1);
  CHECK_EQ(m.host.last_failure.message, "backend gone");
  CHECK(m.device.complete_held().has_value());
  CHECK_EQ(m.second.used_index(), 0);
}

TEST_CASE("a reset forgets everything but the configuration's generation, and works with I/O in flight") {
  Machine m;
  const MmioState fresh = m.transport.save();
  REQUIRE(m.start());
  for (int i = 0; i < 3; ++i) m.send(m.second, 1);
  CHECK_EQ(m.device.held(), 3);
  m.device.context()->interrupt.signal_config();
  CHECK_EQ(m.mmio.read(0xfc), 1);
  CHECK_EQ(m.mmio.read(0x60), 2);
  m.mmio.write(0x70, 0);
  CHECK_EQ(m.device.resets, 1);
  MmioState expected = fresh;
  expected.config_generation = 1;
  CHECK_EQ(m.transport.save(), expected);
  CHECK(m.device.complete_held().has_value());
  CHECK_EQ(m.second.used_index(), 0);
  m.mmio.write(0x70, 0);
  CHECK_EQ(m.device.resets, 1);
}

TEST_CASE("work that was left at a limit is resumed, or forgotten by a reset or a failure") {
  struct Case {
    uint32_t status;  // written while work is left
    bool resumed;
  };
  const Case cases[] = {{kStarted, true}, {0, false}, {kStarted | status::kFailed, false}};
  for (const Case& c : cases) {
    CAPTURE(c.status);
    Machine m;
    m.device.max_rounds = 2;
    REQUIRE(m.start());
    for (int i = 0; i < 3; ++i) m.first.add({{kData, 8, false}});
    m.mmio.notify(0);
    CHECK(m.transport.has_work());
    CHECK_EQ(m.first.used_index(), 2);
    m.mmio.write(0x70, c.status);
    CHECK_EQ(m.transport.has_work(), c.resumed);
    m.transport.resume();
    CHECK_FALSE(m.transport.has_work());
    CHECK_EQ(m.first.used_index(), c.resumed ? 3 : 2);
  }
}

TEST_CASE("nothing is signalled to a driver that is not there") {
  Machine m;
  REQUIRE(m.start());
  Interrupt& interrupt = m.device.context()->interrupt;
  m.mmio.set_status(status::kFailed);
  interrupt.signal_used(0);
  interrupt.signal_config();
  CHECK_EQ(m.host.interrupts, 0);
  CHECK_EQ(m.mmio.read(0x60), 0);
  CHECK_EQ(m.mmio.read(0xfc), 1);
}

TEST_CASE("a running device goes on after save and restore") {
  for (const uint64_t features : {kFeatureVersion1, kFeatureVersion1 | kQueueFeatures}) {
    Machine m;
    REQUIRE(m.start(features));
    for (int i = 0; i < 5; ++i) {
      m.send(m.first, 0);
      m.first.take_used();
    }
    m.first.set_used_event(5);
    m.first.add({{kData, 8, false}, {kData + 0x100, 8, true}});  // and its notification is lost
    const MmioState saved = m.transport.save();
    CHECK_EQ(saved.queues[0].next_avail, 5);

    Loopback device;
    RecordingHost host;
    MmioTransport transport(device, m.memory.guest(), host);
    REQUIRE(transport.restore(saved).has_value());
    CHECK_EQ(transport.save(), saved);
    CHECK(device.context()->restored);
    CHECK_EQ(device.context()->features, features);
    CHECK(transport.has_work());
    transport.resume();
    CHECK_FALSE(transport.has_work());
    CHECK_EQ(m.first.take_used()->len_bytes, 8);
    CHECK_EQ(host.interrupts, 1);
    MmioDriver mmio(transport);
    m.first.set_used_event(6);
    m.first.add({{kData, 8, false}, {kData + 0x100, 8, true}});
    mmio.notify(0);
    CHECK_EQ(m.first.used_index(), 7);
  }
}

TEST_CASE("every step of an initialisation survives save and restore") {
  const std::vector<std::function<void(Machine&)>> steps = {
      [](Machine&) {},
      [](Machine& m) { m.mmio.write(0x70, 1); },
      [](Machine& m) { m.mmio.write(0x70, 3); },
      [](Machine& m) { m.mmio.write_features(kFeatureVersion1 | kFeatureEventIdx); },
      [](Machine& m) { m.mmio.write(0x70, 11); },
      [](Machine& m) { m.mmio.set_up_queue(0, m.first); },
      [](Machine& m) { m.mmio.set_up_queue(1, m.second); },
      [](Machine& m) { m.mmio.write(0x70, 15); },
      [](Machine& m) { m.mmio.write(0x70, 15 | 128); },
  };
  for (size_t before = 0; before <= steps.size(); ++before) {
    CAPTURE(before);
    Machine one;
    for (size_t i = 0; i < before; ++i) steps[i](one);
    Machine two;
    const MmioState saved = one.transport.save();
    REQUIRE(two.transport.restore(saved).has_value());
    CHECK_EQ(two.transport.save(), saved);
    for (size_t i = before; i < steps.size(); ++i) steps[i](two);
    for (size_t i = before; i < steps.size(); ++i) steps[i](one);
    CHECK_EQ(two.transport.save(), one.transport.save());
    CHECK_EQ(two.mmio.device_status(), 15 | 128);
    CHECK_EQ(two.device.activations, before < 9 ? 1 : 0);
  }
}

TEST_CASE("a device that was broken when saved is broken when restored, and comes back by a reset") {
  Machine one;
  REQUIRE(one.start());
  one.first.offer(99);
  one.mmio.notify(0);
  REQUIRE(one.needs_reset());
  Machine two;
  REQUIRE(two.transport.restore(one.transport.save()).has_value());
  CHECK(two.needs_reset());
  CHECK_EQ(two.device.activations, 0);
  two.mmio.notify(0);
  CHECK_EQ(two.device.notifications, 0);
  CHECK(two.start());
}

TEST_CASE("a hostile saved state is refused and leaves a transport as after reset") {
  struct Case {
    std::string name;
    std::function<void(MmioState&)> change;
  };
  const Case cases[] = {
      {"queue area outside", [](MmioState& s) { s.queues[0].device_addr = ~uint64_t{3}; }},
      {"queue size", [](MmioState& s) { s.queues[1].size = 5; }},
      {"indices apart", [](MmioState& s) { s.queues[0].next_used = 77; }},
      {"no queues", [](MmioState& s) { s.queues.clear(); }},
      {"too many queues", [](MmioState& s) { s.queues.push_back(s.queues[0]); }},
      {"other limit", [](MmioState& s) { s.queues[1].max_size = 256; }},
      {"status without a step", [](MmioState& s) { s.status = 7; }},
      {"features not offered", [](MmioState& s) { s.driver_features |= 2; }},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine one;
    REQUIRE(one.start());
    MmioState saved = one.transport.save();
    c.change(saved);
    Machine two;
    const MmioState fresh = two.transport.save();
    const auto restored = two.transport.restore(saved);
    REQUIRE_FALSE(restored.has_value());
    CHECK_EQ(restored.error().code, Code::invalid_argument);
    CHECK_EQ(two.transport.save(), fresh);
    CHECK_EQ(two.device.activations, 0);
    CHECK(two.start());
  }
}

TEST_CASE("features of the queues follow from the negotiation, whatever a saved state says") {
  Machine one;
  REQUIRE(one.start());
  MmioState saved = one.transport.save();
  saved.queues[0].indirect = true;
  Machine two;
  REQUIRE(two.transport.restore(saved).has_value());
  CHECK_FALSE(two.device.context()->queues[0].state().indirect);
}

}  // namespace lambdo::virtio
