#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "virtio/device.h"
#include "virtio/mmio.h"

namespace lambdo::virtio::testing {

/// Counts what a transport asks of its VM.
class RecordingHost final : public TransportHost {
 public:
  InterruptStatus& interrupt_status() override { return status; }
  void raise_interrupt() override { ++interrupts; }
  void device_failed(const Error& error) override {
    ++failures;
    last_failure = error;
  }

  InterruptStatus status;
  int interrupts = 0;
  int failures = 0;
  Error last_failure;
};

/// A device whose queue 0 answers at once with what it was sent, and whose queue 1 keeps each request until
/// complete_held(), as a device does that waits for I/O.
class Loopback final : public Device {
 public:
  [[nodiscard]] uint32_t type() const override { return 42; }
  [[nodiscard]] uint64_t features() const override { return kQueueFeatures | 1; }
  [[nodiscard]] std::span<const uint16_t> queue_max_sizes() const override { return kQueueMaxSizes; }

  void read_config(uint64_t offset, std::span<std::byte> to) const override {
    read_fields(config, offset, to);
  }
  void write_config(uint64_t offset, std::span<const std::byte> from) override {
    ++config_writes;
    for (const std::byte byte : from) {
      if (offset < config.size()) config[offset] = byte;
      ++offset;
    }
  }

  Result<> activate(const ActivationContext& context) override {
    if (refuse_activation) return fail(Code::invalid_argument, "refused");
    ++activations;
    context_.emplace(context);
    return {};
  }

  Result<Work> queue_notified(uint16_t index) override {
    ++notifications;
    Queue& queue = context_->queues[index];
    queue.disable_notifications();
    Work work = Work::more;
    for (size_t round = 0; round < max_rounds && work == Work::more; ++round) {
      auto chain = TRY(queue.pop());
      if (!chain) {
        if (!queue.enable_notifications()) work = Work::drained;
      } else if (index == 0) {
        TRY(answer(queue, *chain));
      } else {
        held_.push_back(*chain);
      }
    }
    if (queue.needs_notification()) context_->interrupt.signal_used(index);
    return work;
  }

  void reset() override {
    ++resets;
    context_.reset();
    held_.clear();
  }

  /// The I/O of queue 1 ends, last first.
  Result<> complete_held() {
    if (!context_) return {};
    Queue& queue = context_->queues[1];
    while (!held_.empty()) {
      TRY(answer(queue, held_.back()));
      held_.pop_back();
    }
    if (queue.needs_notification()) context_->interrupt.signal_used(1);
    return {};
  }

  [[nodiscard]] size_t held() const { return held_.size(); }
  [[nodiscard]] const std::optional<ActivationContext>& context() const { return context_; }

  std::array<std::byte, 12> config{};
  bool refuse_activation = false;
  size_t max_rounds = 300;  ///< of one wake-up
  int activations = 0;
  int notifications = 0;
  int resets = 0;
  int config_writes = 0;

 private:
  static constexpr std::array<uint16_t, 2> kQueueMaxSizes = {256, 16};

  static Result<> answer(Queue& queue, const DescriptorChain& chain) {
    std::array<std::byte, 64> block;
    uint64_t done_bytes = 0;
    // A limit, as everywhere: a chain may have 4 GiB.
    while (done_bytes < 4096) {
      const size_t read_bytes = chain.copy_readable(done_bytes, block);
      const size_t written_bytes = chain.copy_writable(done_bytes, std::span(block).first(read_bytes));
      done_bytes += written_bytes;
      if (written_bytes < block.size()) break;
    }
    return queue.push_used(chain.head(), static_cast<uint32_t>(done_bytes));
  }

  std::optional<ActivationContext> context_;
  std::vector<DescriptorChain> held_;
};

}  // namespace lambdo::virtio::testing
