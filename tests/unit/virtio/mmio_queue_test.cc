#include "virtio/mmio.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "machine.h"
#include "test.h"

namespace lambdo::virtio {

using testing::DriverQueue;
using testing::Used;
using Machine = testing::LoopbackMachine;

constexpr uint64_t kData = Machine::kData;
constexpr uint32_t kStarted = Machine::kStarted;

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
      {"descriptor table outside", 0x84, 1,
       "queue 0: descriptor table: 256 bytes at guest address 0x100001000"},
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
      {"indirect that was not negotiated",
       [](Machine& m) { m.first.add_indirect({{kData, 8, true}}, 0x4000); }},
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

}  // namespace lambdo::virtio
