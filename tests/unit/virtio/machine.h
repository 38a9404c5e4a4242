#pragma once

#include <cstdint>

#include "driver.h"
#include "loopback.h"

namespace lambdo::virtio::testing {

/// A loopback device with its transport, and a driver with a queue of 16 and one of 8 in memory.
struct LoopbackMachine {
  static constexpr uint64_t kData = 0x8000;  ///< free memory
  static constexpr uint32_t kStarted =
      status::kAcknowledge | status::kDriver | status::kFeaturesOk | status::kDriverOk;

  TestMemory memory{{0, 0x10000}};
  RecordingHost host;
  Loopback device;
  MmioTransport transport{device, memory.guest(), host};
  MmioDriver mmio{transport};
  DriverQueue first{memory, 0x1000, 16};
  DriverQueue second{memory, 0x2000, 8};

  bool start(uint64_t features = kFeatureVersion1) { return mmio.start(features, {&first, &second}); }
  [[nodiscard]] bool needs_reset() const { return (mmio.device_status() & status::kNeedsReset) != 0; }
  /// A request of 8 bytes each way, and the notification.
  void send(DriverQueue& queue, uint32_t index) {
    queue.add({{kData, 8, false}, {kData + 0x100, 8, true}});
    mmio.notify(index);
  }
};

}  // namespace lambdo::virtio::testing
