#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/error.h"
#include "virtio/device.h"
#include "virtio/work_budget.h"

namespace lambdo::virtio {

/// The entropy device (virtio 1.2, 5.4): fills the driver's buffers from the host's random generator. It has
/// no state of its own to save.
class Rng final : public Device {
 public:
  /// A longer request is filled that far, which the driver is told (5.4.6.1 allows it).
  static constexpr size_t kMaxRequestBytes = 4096;
  static constexpr WorkLimits kWakeUpLimits = {.rounds = 64, .bytes = 16384};

  [[nodiscard]] uint32_t type() const override { return 4; }
  [[nodiscard]] uint64_t features() const override { return kQueueFeatures; }
  [[nodiscard]] std::span<const uint16_t> queue_max_sizes() const override { return kQueueMaxSizes; }

  Result<> activate(const ActivationContext& context) override;
  Result<Work> queue_notified(uint16_t queue) override;
  void reset() override { context_.reset(); }

 private:
  static constexpr std::array<uint16_t, 1> kQueueMaxSizes = {64};

  /// Serves requests up to the limits.
  Result<Work> serve(Queue& queue);

  std::optional<ActivationContext> context_;
};

}  // namespace lambdo::virtio
