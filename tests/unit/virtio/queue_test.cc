#include "virtio/queue.h"

#include <functional>
#include <limits>
#include <random>
#include <string>

#include "driver.h"
#include "test.h"

namespace lambdo::virtio {

using testing::DriverQueue;
using testing::TestMemory;
using testing::Used;

constexpr uint64_t kBase = 0x1000;
constexpr uint64_t kData = 0x8000;
constexpr uint64_t kMemoryBytes = 0x10000;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST_CASE("requests pass in order through many rounds of the 16-bit indices") {
  const TestMemory memory({{0, kMemoryBytes}});
  for (const uint16_t size : {uint16_t{1}, uint16_t{2}, uint16_t{8}, uint16_t{256}}) {
    CAPTURE(size);
    DriverQueue driver(memory, kBase, size);
    driver.start_at(65000);
    Queue queue = Queue::create(driver.state(), memory.guest()).value();
    uint32_t sent = 0;
    uint32_t received = 0;
    bool intact = true;
    while (received < 70000) {
      while (driver.free_descriptors() > 0) driver.add({{kData, ++sent % 1000 + 1, true}});
      while (true) {
        const auto chain = queue.pop().value();
        if (!chain) break;
        intact &= queue.push_used(chain->head(), static_cast<uint32_t>(chain->writable_bytes())).has_value();
      }
      while (const auto used = driver.take_used()) intact &= used->len_bytes == ++received % 1000 + 1;
    }
    CHECK(intact);
    CHECK_EQ(received, sent);
    CHECK_EQ(queue.state().next_avail, static_cast<uint16_t>(65000 + sent));
    CHECK_EQ(queue.state().in_flight(), 0);
  }
}

TEST_CASE("a chain that was put back is popped again, as it then is") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  const uint16_t first = driver.add({{kData, 8, true}});
  const uint16_t second = driver.add({{kData, 8, true}});
  CHECK_EQ(queue.pop().value()->head(), first);
  CHECK_EQ(queue.pop().value()->head(), second);
  queue.unpop();
  CHECK_EQ(queue.state().in_flight(), 1);
  CHECK(queue.push_used(first, 8).has_value());
  driver.set_descriptor(second, {kData, 4, Descriptor::kWrite, 0});
  const auto again = queue.pop().value();
  REQUIRE(again.has_value());
  CHECK_EQ(again->head(), second);
  CHECK_EQ(again->writable_bytes(), 4U);
  CHECK_FALSE(queue.pop().value().has_value());
}

TEST_CASE("chains are given back in any order") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  const uint16_t first = driver.add({{kData, 8, false}});
  const uint16_t second = driver.add({{kData, 8, true}});
  CHECK_EQ(queue.pop().value()->head(), first);
  CHECK_EQ(queue.pop().value()->head(), second);
  CHECK_EQ(queue.state().in_flight(), 2);
  CHECK(queue.push_used(second, 8).has_value());
  CHECK(queue.push_used(first, 0).has_value());
  CHECK_EQ(driver.take_used(), Used{second, 8});
  CHECK_EQ(driver.take_used(), Used{first, 0});
  CHECK_FALSE(driver.take_used().has_value());
}

TEST_CASE("chains that belong together are given back at once, or not at all") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  std::vector<UsedChain> chains;
  for (uint32_t i = 0; i < 3; ++i) {
    const uint16_t head = driver.add({{kData, 8, true}});
    chains.push_back({head, i});
    REQUIRE(queue.pop().value().has_value());
  }
  auto wrong = chains;
  wrong.back().head = 4;
  CHECK_EQ(queue.push_used(wrong).error().code, Code::internal);
  wrong = chains;
  wrong.push_back(chains.front());
  CHECK_EQ(queue.push_used(wrong).error().code, Code::internal);
  CHECK_EQ(driver.used_index(), 0);
  CHECK_EQ(queue.state().in_flight(), 3);

  CHECK(queue.push_used(chains).has_value());
  CHECK_EQ(driver.used_index(), 3);
  for (const UsedChain& chain : chains) CHECK_EQ(driver.take_used(), Used{chain.head, chain.len_bytes});
  CHECK_EQ(queue.state().unsignalled, 3U);
}

TEST_CASE("giving back what is not out is an error, not a write") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  CHECK_EQ(queue.push_used(0, 0).error().code, Code::internal);
  driver.add({{kData, 8, false}});
  REQUIRE(queue.pop().value().has_value());
  CHECK_EQ(queue.push_used(4, 0).error().code, Code::internal);
  CHECK_EQ(driver.used_index(), 0);
  CHECK(queue.push_used(0, 0).has_value());
  CHECK_EQ(driver.used_index(), 1);
}

TEST_CASE("the available index may be as far ahead as the queue is long, counting what is in flight") {
  struct Case {
    int ahead;      // of next_avail
    int in_flight;  // popped before
    bool valid;
  };
  const Case cases[] = {{1, 0, true},   {4, 0, true},      {5, 0, false},    {3, 1, true},
                        {4, 1, false},  {1, 4, false},     {0, 4, true},     {-1, 0, false},
                        {-1, 2, false}, {32768, 0, false}, {65535, 0, false}};
  for (const Case& c : cases) {
    for (const int start : {0, 65533}) {
      CAPTURE(c.ahead);
      CAPTURE(c.in_flight);
      CAPTURE(start);
      const TestMemory memory({{0, kMemoryBytes}});
      DriverQueue driver(memory, kBase, 4);
      driver.start_at(static_cast<uint16_t>(start));
      for (uint16_t i = 0; i < 4; ++i) driver.set_descriptor(i, {kData, 8, 0, 0});
      QueueState state = driver.state();
      state.next_avail = static_cast<uint16_t>(start + c.in_flight);
      Queue queue = Queue::create(state, memory.guest()).value();
      driver.set_avail_index(static_cast<uint16_t>(start + c.in_flight + c.ahead));
      const auto chain = queue.pop();
      CHECK_EQ(chain.has_value(), c.valid);
      if (c.valid) CHECK_EQ(chain->has_value(), c.ahead != 0);
      if (!c.valid) CHECK_EQ(chain.error().code, Code::invalid_argument);
    }
  }
}

TEST_CASE("an error moves nothing, and the queue goes on once the chain is good") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  const uint16_t head = driver.add({{kMax, 8, false}});
  const QueueState before = queue.state();
  CHECK_FALSE(queue.pop().has_value());
  CHECK_EQ(queue.state(), before);
  driver.set_descriptor(head, {kData, 8, 0, 0});
  CHECK_EQ(queue.pop().value()->head(), head);
}

TEST_CASE("a queue that is not ready, or stopped, touches nothing") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  driver.add({{kData, 8, false}});
  driver.add({{kData, 8, false}});
  REQUIRE(queue.pop().value().has_value());
  queue.stop();
  CHECK_FALSE(queue.pop().value().has_value());
  CHECK(queue.push_used(0, 8).has_value());
  queue.disable_notifications();
  CHECK_FALSE(queue.enable_notifications());
  CHECK_FALSE(queue.needs_notification());
  CHECK_EQ(driver.used_index(), 0);
  CHECK_EQ(driver.used_flags(), 0);

  Queue unset = Queue::create(QueueState{.max_size = 16}, memory.guest()).value();
  CHECK_FALSE(unset.pop().value().has_value());
  CHECK(unset.push_used(0, 0).has_value());
  CHECK_FALSE(unset.enable_notifications());
}

TEST_CASE("without event indices the driver's flag decides on interrupts") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  Queue queue = Queue::create(driver.state(), memory.guest()).value();
  const auto serve_one = [&] {
    driver.add({{kData, 8, true}});
    CHECK(queue.push_used(queue.pop().value()->head(), 8).has_value());
    driver.take_used();
  };
  CHECK_FALSE(queue.needs_notification());
  serve_one();
  CHECK(queue.needs_notification());
  CHECK_FALSE(queue.needs_notification());
  driver.set_avail_flags(1);
  driver.set_used_event(1);  // to be ignored
  serve_one();
  CHECK_FALSE(queue.needs_notification());
  driver.set_avail_flags(0);
  CHECK_FALSE(queue.needs_notification());
  serve_one();
  CHECK(queue.needs_notification());
}

TEST_CASE("with event indices the driver is told exactly when the device passes used_event") {
  const TestMemory memory({{0, kMemoryBytes}});
  std::mt19937 random(1);
  int told = 0;
  for (int round = 0; round < 3000; ++round) {
    DriverQueue driver(memory, kBase, 16);
    const auto start = static_cast<uint16_t>(round % 2 == 0 ? random() : 65530 + random() % 12);
    driver.start_at(start);
    driver.set_avail_flags(1);  // to be ignored (2.7.7.2)
    Queue queue = Queue::create(driver.state(true), memory.guest()).value();
    for (int batch = 0; batch < 4; ++batch) {
      const auto used_event = static_cast<uint16_t>(start + random() % 40 - 4);
      driver.set_used_event(used_event);
      // The model: one entry at a time, as the specification words it.
      bool expected = false;
      const uint32_t count = random() % 17;
      for (uint32_t i = 0; i < count; ++i) {
        driver.add({{kData, 8, true}});
        expected |= driver.used_index() == used_event;
        REQUIRE(queue.push_used(queue.pop().value()->head(), 8).has_value());
        driver.take_used();
      }
      const bool tells = queue.needs_notification();
      REQUIRE_EQ(tells, expected);
      told += tells ? 1 : 0;
    }
  }
  CHECK_GT(told, 1000);
}

TEST_CASE("more than 65,536 entries without a question are always worth an interrupt") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 1);
  Queue queue = Queue::create(driver.state(true), memory.guest()).value();
  for (int i = 0; i < 65536 + 5; ++i) {
    driver.add({{kData, 8, true}});
    REQUIRE(queue.push_used(queue.pop().value()->head(), 8).has_value());
    driver.take_used();
  }
  CHECK_EQ(queue.state().unsignalled, 65536);
  driver.set_used_event(static_cast<uint16_t>(driver.used_index() + 100));
  CHECK(queue.needs_notification());
  CHECK_FALSE(queue.needs_notification());
}

TEST_CASE("the driver is asked to be quiet and to notify again, by flag or by event index") {
  for (const bool event_idx : {false, true}) {
    CAPTURE(event_idx);
    const TestMemory memory({{0, kMemoryBytes}});
    DriverQueue driver(memory, kBase, 4);
    driver.start_at(65534);
    Queue queue = Queue::create(driver.state(event_idx), memory.guest()).value();
    queue.disable_notifications();
    CHECK_EQ(driver.used_flags(), event_idx ? 0 : 1);
    for (int i = 0; i < 3; ++i) driver.add({{kData, 8, true}});
    CHECK(queue.enable_notifications());
    CHECK_EQ(driver.used_flags(), 0);
    CHECK_EQ(driver.avail_event(), event_idx ? 65534 : 0);
    for (int i = 0; i < 3; ++i) REQUIRE(queue.pop().value().has_value());
    CHECK_FALSE(queue.enable_notifications());
    CHECK_EQ(driver.avail_event(), event_idx ? 1 : 0);
  }
}

TEST_CASE("the device writes its used ring and nothing around it") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 8);
  Queue queue = Queue::create(driver.state(true), memory.guest()).value();
  const auto bytes = memory.guest().slice(0, kMemoryBytes).value();
  for (uint64_t addr = driver.end_addr(); addr < driver.end_addr() + 64; ++addr)
    bytes[addr] = std::byte{0xee};
  for (int i = 0; i < 100; ++i) {
    driver.add({{kData, 8, true}});
    REQUIRE(queue.push_used(queue.pop().value()->head(), 0xffffffff).has_value());
    driver.take_used();
    CHECK_FALSE(queue.enable_notifications());
  }
  bool untouched = true;
  for (uint64_t addr = driver.end_addr(); addr < driver.end_addr() + 64; ++addr) {
    untouched &= bytes[addr] == std::byte{0xee};
  }
  CHECK(untouched);
}

TEST_CASE("a queue goes on from its saved state, interrupts owed included") {
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, 4);
  driver.start_at(65535);
  QueueState saved;
  uint16_t held = 0;
  {
    Queue queue = Queue::create(driver.state(false, true), memory.guest()).value();
    for (int i = 0; i < 3; ++i) driver.add({{kData, 8, true}});
    held = queue.pop().value()->head();
    CHECK(queue.push_used(queue.pop().value()->head(), 8).has_value());
    saved = queue.state();
  }
  CHECK_EQ(saved.in_flight(), 1);
  Queue queue = Queue::create(saved, memory.guest()).value();
  CHECK_EQ(queue.state(), saved);
  CHECK(queue.needs_notification());
  CHECK(queue.push_used(held, 1).has_value());
  CHECK(queue.pop().value().has_value());
  CHECK_FALSE(queue.pop().value().has_value());
  CHECK_EQ(driver.used_index(), 1);
}

TEST_CASE("a state that cannot be is refused") {
  const TestMemory memory({{0, kMemoryBytes}});
  const DriverQueue driver(memory, kBase, 8);
  struct Case {
    std::string name;
    std::function<void(QueueState&)> change;
    std::string error;
  };
  const Case cases[] = {
      {"as it is", [](QueueState&) {}, ""},
      {"size 0", [](QueueState& s) { s.size = 0; }, "size 0"},
      {"size 3", [](QueueState& s) { s.size = 3; }, "size 3"},
      {"size 65535", [](QueueState& s) { s.size = 65535; }, "size 65535"},
      {"size over the device's limit", [](QueueState& s) { s.max_size = 4; }, "not a power of 2 up to 4"},
      {"no limit", [](QueueState& s) { s.max_size = 0; }, "queue limit 0"},
      {"limit over ours", [](QueueState& s) { s.max_size = 512; }, "queue limit 512"},
      {"descriptor table off 16", [](QueueState& s) { s.descriptor_addr += 8; },
       "descriptor table at 0x1008"},
      {"available ring off 2", [](QueueState& s) { s.driver_addr += 1; }, "available ring at"},
      {"used ring off 4", [](QueueState& s) { s.device_addr += 2; }, "used ring at"},
      {"descriptor table past memory", [](QueueState& s) { s.descriptor_addr = kMemoryBytes - 112; },
       "descriptor table: 128 bytes"},
      {"descriptor table at the end", [](QueueState& s) { s.descriptor_addr = kMemoryBytes - 128; }, ""},
      {"available ring past memory", [](QueueState& s) { s.driver_addr = kMemoryBytes - 20; },
       "available ring: 22"},
      {"available ring at the end", [](QueueState& s) { s.driver_addr = kMemoryBytes - 22; }, ""},
      {"used ring past memory", [](QueueState& s) { s.device_addr = kMemoryBytes - 68; },
       "used ring: 70 bytes"},
      {"used ring at the end", [](QueueState& s) { s.device_addr = kMemoryBytes - 72; }, ""},
      {"descriptor table wraps", [](QueueState& s) { s.descriptor_addr = kMax - 15; }, "descriptor table"},
      {"available ring wraps", [](QueueState& s) { s.driver_addr = kMax - 1; }, "available ring"},
      {"used ring wraps", [](QueueState& s) { s.device_addr = kMax - 3; }, "used ring"},
      {"in flight as many as fit", [](QueueState& s) { s.next_avail = 8; }, ""},
      {"in flight more than fit", [](QueueState& s) { s.next_avail = 9; }, "9 chains in flight"},
      {"used past available", [](QueueState& s) { s.next_used = 1; }, "65535 chains in flight"},
      {"unsignalled", [](QueueState& s) { s.unsignalled = 65537; }, "unsignalled"},
      {"not ready: nothing of it is used",
       [](QueueState& s) { s = {.max_size = 8, .size = 3, .next_avail = 99}; }, ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    QueueState state = driver.state();
    c.change(state);
    const auto queue = Queue::create(state, memory.guest());
    CHECK_EQ(queue.has_value(), c.error.empty());
    if (queue || c.error.empty()) continue;
    CHECK_EQ(queue.error().code, Code::invalid_argument);
    CHECK_NE(queue.error().message.find(c.error), std::string::npos);
  }
}

}  // namespace lambdo::virtio
