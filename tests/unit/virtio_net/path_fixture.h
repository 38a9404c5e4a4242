#pragma once

#include <cstdint>

#include "guest.h"
#include "virtio/queue.h"
#include "virtio_net/path_host.h"

/// One path of a network device by itself: without the device, its transport and its loop.
namespace lambdo::virtio_net::testing {

/// Counts what a path tells its device.
struct ScriptedHost final : PathHost {
  [[nodiscard]] bool is_link_up() const override { return link_up; }
  [[nodiscard]] bool may_receive() const override { return receives; }
  void tap_lost() override { ++taps_lost; }
  void wake() override { ++wakes; }

  bool link_up = true;
  bool receives = true;
  int taps_lost = 0;
  int wakes = 0;
};

/// What a path works with: a TAP, and a queue with its driver.
struct PathFixture {
  static constexpr uint64_t kData = 0x8000;
  static constexpr uint16_t kQueueSize = 16;

  explicit PathFixture(const NetOptions& net_options = {.mac = kGuestMac}) : options(net_options) {}

  /// Offers a frame of the guest's.
  void put(std::span<const std::byte> frame) {
    const Bytes bytes = encode({}, frame);
    std::memcpy(memory.at(kData, bytes.size()), bytes.data(), bytes.size());
    driver.add({{kData, static_cast<uint32_t>(bytes.size()), false}});
  }
  /// Offers a buffer for a frame.
  void offer(uint32_t len_bytes) { driver.add({{kData, len_bytes, true}}); }

  NetOptions options;
  std::unique_ptr<Reactor> reactor = Reactor::create().value();
  Wire wire;
  Tap tap = Tap::of_socket(wire.take_device_end()).value();
  virtio::testing::TestMemory memory{{0, 0x20000}};
  virtio::testing::DriverQueue driver{memory, 0x1000, kQueueSize};
  virtio::Queue queue = virtio::Queue::create(driver.state(), memory.guest()).value();
  ScriptedHost host;
  DirectionCounters counters;
};

}  // namespace lambdo::virtio_net::testing
