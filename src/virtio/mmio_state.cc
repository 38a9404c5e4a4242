#include "virtio/mmio_state.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace lambdo::virtio {

uint64_t offered_features(const Device& device) {
  return device.features() | kFeatureVersion1;
}

bool are_acceptable(uint64_t features, const Device& device) {
  return (features & ~offered_features(device)) == 0 && (features & kFeatureVersion1) != 0;
}

Result<> validate(const MmioState& state, const Device& device) {
  // The steps of virtio 1.2, 3.1.1, in their order.
  static constexpr std::array<uint32_t, 5> kSteps = {
      0,
      status::kAcknowledge,
      status::kAcknowledge | status::kDriver,
      status::kAcknowledge | status::kDriver | status::kFeaturesOk,
      status::kAcknowledge | status::kDriver | status::kFeaturesOk | status::kDriverOk,
  };
  const uint32_t step = state.status & ~(status::kFailed | status::kNeedsReset);
  if (std::ranges::find(kSteps, step) == kSteps.end()) {
    return fail(Code::invalid_argument, "device status " + hex(state.status) + " cannot be reached");
  }
  if (state.has(status::kFeaturesOk) && !are_acceptable(state.driver_features, device)) {
    return fail(Code::invalid_argument, "driver features " + hex(state.driver_features) +
                                            " do not suit the device's " + hex(offered_features(device)));
  }
  if (state.interrupt_status > 3) {
    return fail(Code::invalid_argument,
                "interrupt status " + hex(state.interrupt_status) + " has unknown bits");
  }
  const auto same_limit = [](const QueueState& queue, uint16_t max_size) {
    return queue.max_size == max_size;
  };
  if (!std::ranges::equal(state.queues, device.queue_max_sizes(), same_limit)) {
    return fail(Code::invalid_argument, "the saved queues are not the device's");
  }
  for (const QueueState& queue : state.queues) {
    if (state.has(status::kDriverOk)) break;
    if (queue.next_avail != 0 || queue.next_used != 0 || queue.unsignalled != 0) {
      return fail(Code::invalid_argument, "a queue was used before DRIVER_OK");
    }
  }
  return {};
}

}  // namespace lambdo::virtio
