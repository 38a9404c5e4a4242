#include <array>
#include <atomic>
#include <random>
#include <span>
#include <thread>

#include "driver.h"
#include "test.h"
#include "virtio/queue.h"

namespace lambdo::virtio {

using testing::DriverQueue;
using testing::TestMemory;

constexpr uint64_t kBase = 0x1000;
constexpr uint64_t kData = 0x8000;
constexpr uint64_t kMemoryBytes = 0x10000;

/// Whether every buffer lies in guest memory, readable before writable.
static bool is_sound(const DescriptorChain& chain, std::span<const std::byte> memory, uint16_t size) {
  if (chain.head() >= size || chain.buffers().size() > size) return false;
  bool seen_writable = false;
  uint64_t total_bytes = 0;
  for (const Buffer& buffer : chain.buffers()) {
    if (buffer.data < memory.data() || buffer.data + buffer.len_bytes > memory.data() + memory.size())
      return false;
    if (seen_writable && !buffer.device_writable) return false;
    seen_writable = buffer.device_writable;
    total_bytes += buffer.len_bytes;
  }
  return total_bytes == chain.readable_bytes() + chain.writable_bytes();
}

TEST_CASE("descriptors and rings that change while the device reads give sound chains or errors") {
  constexpr uint16_t kSize = 8;
  const TestMemory memory({{0, kMemoryBytes}});
  const DriverQueue driver(memory, kBase, kSize);
  Queue queue = Queue::create(driver.state(true, true), memory.guest()).value();
  std::atomic<bool> done = false;
  std::thread hostile([&] {
    std::mt19937 random(7);
    const std::array<uint64_t, 4> addrs = {kData, kMemoryBytes - 4, kBase, ~uint64_t{0} - 8};
    uint16_t index = 0;
    while (!done.load(std::memory_order_relaxed)) {
      for (uint16_t i = 0; i < kSize; ++i) {
        const auto r = static_cast<uint32_t>(random());
        driver.set_descriptor(i, {addrs[r % 32 < 29 ? 0 : r % 4], r >> 8 & 63,
                                  static_cast<uint16_t>(r >> 16 & 3), static_cast<uint16_t>(r >> 20 & 7)});
      }
      index = static_cast<uint16_t>(driver.used_index() + random() % (kSize + 1));
      driver.set_avail_index(index);
    }
  });
  int chains = 0;
  int errors = 0;
  bool sound = true;
  for (int i = 0; i < 2'000'000 && (chains < 2000 || errors < 100); ++i) {
    const auto chain = queue.pop();
    if (!chain) {
      ++errors;
    } else if (*chain) {
      ++chains;
      sound &= is_sound(**chain, memory.guest().regions()[0].bytes, kSize);
      sound &= queue.push_used((*chain)->head(), 0).has_value();
    } else {
      std::this_thread::yield();
    }
    static_cast<void>(queue.enable_notifications());
    static_cast<void>(queue.needs_notification());
  }
  done = true;
  hostile.join();
  CHECK(sound);
  CHECK_GT(chains, 0);
  CHECK_GT(errors, 0);
}

TEST_CASE("no notification is lost between a driver and a device that both go by event indices") {
  constexpr uint16_t kSize = 4;
  constexpr uint32_t kRequests = 20000;
  const TestMemory memory({{0, kMemoryBytes}});
  DriverQueue driver(memory, kBase, kSize);
  std::atomic<uint32_t> kicks = 0;
  std::atomic<uint32_t> interrupts = 0;
  Queue queue = Queue::create(driver.state(true), memory.guest()).value();
  std::thread device([&] {
    uint32_t served = 0;
    uint32_t seen_kicks = 0;
    while (served < kRequests) {
      while (true) {
        const auto chain = queue.pop().value();
        if (chain) {
          static_cast<void>(queue.push_used(chain->head(), ++served));
        } else if (!queue.enable_notifications()) {
          break;
        }
      }
      if (queue.needs_notification()) {
        interrupts.fetch_add(1);
        interrupts.notify_one();
      }
      if (served == kRequests) break;
      kicks.wait(seen_kicks);  // for ever where a kick is lost
      seen_kicks = kicks.load();
    }
  });
  uint32_t received = 0;
  uint32_t sent = 0;
  bool in_order = true;
  uint32_t seen_interrupts = 0;
  while (received < kRequests) {
    while (sent < kRequests && driver.free_descriptors() > 0) {
      const uint16_t index = driver.avail_index();
      driver.add({{kData, 8, true}});
      ++sent;
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (driver.avail_event() == index) {
        kicks.fetch_add(1);
        kicks.notify_one();
      }
    }
    while (const auto used = driver.take_used()) in_order &= used->len_bytes == ++received;
    if (received == sent) continue;  // nothing to wait for
    driver.set_used_event(static_cast<uint16_t>(received));
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (driver.used_index() != static_cast<uint16_t>(received)) continue;
    interrupts.wait(seen_interrupts);  // for ever where an interrupt is lost
    seen_interrupts = interrupts.load();
  }
  device.join();
  CHECK(in_order);
  CHECK_GT(kicks.load(), 0);
}

}  // namespace lambdo::virtio
