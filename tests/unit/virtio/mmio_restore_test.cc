#include "virtio/mmio.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "machine.h"
#include "test.h"

namespace lambdo::virtio {

using testing::Loopback;
using testing::MmioDriver;
using testing::RecordingHost;
using Machine = testing::LoopbackMachine;

constexpr uint64_t kData = Machine::kData;

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
