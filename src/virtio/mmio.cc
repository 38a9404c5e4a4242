#include "virtio/mmio.h"

#include <linux/virtio_mmio.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "base/check.h"

namespace lambdo::virtio {

namespace {

constexpr uint32_t kMagic = 0x74726976;  // "virt"
constexpr uint32_t kVersion = 2;
constexpr uint32_t kVendor = 0x444d424c;  // "LBMD", free to choose
constexpr uint32_t kUsedInterrupt = VIRTIO_MMIO_INT_VRING;
constexpr uint32_t kConfigInterrupt = VIRTIO_MMIO_INT_CONFIG;
constexpr uint64_t kConfigOffset = VIRTIO_MMIO_CONFIG;

uint32_t half_of(uint64_t value, uint32_t select) {
  if (select > 1) return 0;
  return static_cast<uint32_t>(value >> (32 * select));
}

void set_half(uint64_t& value, uint32_t select, uint32_t half) {
  if (select > 1) return;
  const uint64_t mask = uint64_t{0xffffffff} << (32 * select);
  value = (value & ~mask) | (uint64_t{half} << (32 * select));
}

bool is_register_access(uint64_t offset, size_t len_bytes) {
  return offset % 4 == 0 && len_bytes == 4;
}

}  // namespace

MmioTransport::MmioTransport(Device& device, const GuestMemory& memory, TransportHost& host)
    : device_(device), memory_(memory), host_(host) {
  const auto max_sizes = device.queue_max_sizes();
  CHECK(max_sizes.size() <= kMaxQueues);
  for (const uint16_t max_size : max_sizes) CHECK(std::has_single_bit(max_size) && max_size <= kMaxQueueSize);
  reset();
}

MmioTransport::~MmioTransport() {
  reset();
}

void MmioTransport::read(uint64_t offset, std::span<std::byte> to) const {
  if (host_.interrupt_status().read(offset, to)) return;
  if (offset >= kConfigOffset) return device_.read_config(offset - kConfigOffset, to);
  std::ranges::fill(to, std::byte{0});
  if (!is_register_access(offset, to.size())) return;
  const uint32_t value = read_register(offset);
  std::memcpy(to.data(), &value, sizeof value);
}

void MmioTransport::write(uint64_t offset, std::span<const std::byte> from) {
  if (host_.interrupt_status().write(offset, from)) return;
  if (offset >= kConfigOffset) {
    if (state_.has(status::kDriver) && !state_.is_broken())
      device_.write_config(offset - kConfigOffset, from);
    return;
  }
  if (!is_register_access(offset, from.size())) return;
  uint32_t value = 0;
  std::memcpy(&value, from.data(), sizeof value);
  write_register(offset, value);
}

// The registers are those of virtio 1.2, 4.2.2; those that can only be written read as 0.
uint32_t MmioTransport::read_register(uint64_t offset) const {
  const auto max_sizes = device_.queue_max_sizes();
  const uint32_t queue = state_.queue_select;
  switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
      return kMagic;
    case VIRTIO_MMIO_VERSION:
      return kVersion;
    case VIRTIO_MMIO_DEVICE_ID:
      return device_.type();
    case VIRTIO_MMIO_VENDOR_ID:
      return kVendor;
    case VIRTIO_MMIO_DEVICE_FEATURES:
      return half_of(offered_features(device_), state_.device_features_select);
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
      return queue < max_sizes.size() ? max_sizes[queue] : 0;
    case VIRTIO_MMIO_QUEUE_READY:
      if (queue < queues_.size()) return queues_[queue].state().ready ? 1 : 0;
      return queue < state_.queues.size() && state_.queues[queue].ready ? 1 : 0;
    case VIRTIO_MMIO_STATUS:
      return state_.status;
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
      return std::numeric_limits<uint32_t>::max();  // no such region
    case VIRTIO_MMIO_CONFIG_GENERATION:
      return state_.config_generation;
    default:
      return 0;
  }
}

void MmioTransport::write_register(uint64_t offset, uint32_t value) {
  switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      state_.device_features_select = value;
      return;
    case VIRTIO_MMIO_DRIVER_FEATURES:
      return write_driver_features(value);
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      state_.driver_features_select = value;
      return;
    case VIRTIO_MMIO_QUEUE_SEL:
      state_.queue_select = value;
      return;
    case VIRTIO_MMIO_QUEUE_READY:
      return write_queue_ready(value);
    case VIRTIO_MMIO_QUEUE_NOTIFY:
      if (value < queues_.size()) notify(static_cast<uint16_t>(value));
      return;
    case VIRTIO_MMIO_STATUS:
      return write_status(value);
    default:
      break;
  }
  QueueState* queue = selected_queue_in_setup();
  if (queue == nullptr || queue->ready) return;
  switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
      // Checked on activation; what does not fit is no valid size either.
      queue->size = static_cast<uint16_t>(std::min<uint32_t>(value, std::numeric_limits<uint16_t>::max()));
      return;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
      return set_half(queue->descriptor_addr, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
      return set_half(queue->driver_addr, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
      return set_half(queue->device_addr, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
    default:
      return;
  }
}

void MmioTransport::write_driver_features(uint32_t value) {
  if (!state_.has(status::kDriver) || state_.has(status::kFeaturesOk) || state_.is_broken()) return;
  set_half(state_.driver_features, state_.driver_features_select, value);
}

QueueState* MmioTransport::selected_queue_in_setup() {
  // virtio 1.2, 3.1.1: queues are set up between FEATURES_OK and DRIVER_OK.
  if (!state_.has(status::kFeaturesOk) || state_.has(status::kDriverOk) || state_.is_broken()) return nullptr;
  if (state_.queue_select >= state_.queues.size()) return nullptr;
  return &state_.queues[state_.queue_select];
}

void MmioTransport::write_queue_ready(uint32_t value) {
  if (value > 1) return;
  if (QueueState* queue = selected_queue_in_setup()) queue->ready = value == 1;
  // Once the driver took a running queue back, only a reset brings it again (no VIRTIO_F_RING_RESET).
  if (value == 0 && state_.queue_select < queues_.size()) queues_[state_.queue_select].stop();
}

void MmioTransport::write_status(uint32_t value) {
  if (value == 0) return reset();
  // virtio 1.2, 2.1.1: the driver clears no bit. NEEDS_RESET is ours, it may not know of it.
  if ((state_.status & ~value & ~status::kNeedsReset) != 0) return;
  const uint32_t added = value & ~state_.status;
  if ((added & status::kFailed) != 0) {
    state_.status |= status::kFailed;
    stop_queues();
  }
  if (state_.is_broken()) return;
  // Each step needs the one before (3.1.1); after one that is refused, none is taken.
  if ((added & status::kAcknowledge) != 0) state_.status |= status::kAcknowledge;
  if ((added & status::kDriver) != 0 && state_.has(status::kAcknowledge)) state_.status |= status::kDriver;
  if ((added & status::kFeaturesOk) != 0 && state_.has(status::kDriver) &&
      are_acceptable(state_.driver_features, device_)) {
    state_.status |= status::kFeaturesOk;
  }
  if ((added & status::kDriverOk) != 0 && state_.has(status::kFeaturesOk)) {
    state_.status |= status::kDriverOk;
    if (auto activated = activate(false); !activated) fail(std::move(activated).error());
  }
}

Result<> MmioTransport::activate(bool restored) {
  for (size_t index = 0; index < state_.queues.size(); ++index) {
    QueueState& queue = state_.queues[index];
    queue.event_idx = (state_.driver_features & kFeatureEventIdx) != 0;
    queue.indirect = (state_.driver_features & kFeatureIndirect) != 0;
    auto live = Queue::create(queue, memory_);
    if (!live) return std::unexpected(std::move(live).error().with_context("queue " + std::to_string(index)));
    queues_.push_back(*live);
  }
  is_active_ = true;
  auto activated = device_.activate({memory_, queues_, *this, state_.driver_features, restored});
  if (!activated) is_active_ = false;
  return activated;
}

void MmioTransport::notify(uint16_t queue) {
  if (!is_running() || queue >= queues_.size()) return;
  auto work = device_.queue_notified(queue);
  if (!work) return fail(std::move(work).error());
  if (*work == Work::more) pending_queues_ |= 1U << queue;
}

void MmioTransport::resume() {
  const uint32_t queues = std::exchange(pending_queues_, 0);
  for (uint16_t queue = 0; queue < kMaxQueues; ++queue) {
    if ((queues >> queue & 1) != 0) notify(queue);
  }
}

void MmioTransport::signal_used(uint16_t /*queue*/) {
  if (!is_running()) return;
  interrupt(kUsedInterrupt);
}

void MmioTransport::signal_config() {
  // Also before DRIVER_OK: a driver may be reading (2.5.3).
  ++state_.config_generation;
  if (is_running()) interrupt(kConfigInterrupt);
}

void MmioTransport::interrupt(uint32_t reason) {
  host_.interrupt_status().raise(reason);
  host_.raise_interrupt();
}

void MmioTransport::fail(Error error) {
  if (state_.has(status::kNeedsReset)) return;
  state_.status |= status::kNeedsReset;
  stop_queues();
  if (state_.has(status::kDriverOk)) interrupt(kConfigInterrupt);
  host_.device_failed(error);
}

void MmioTransport::stop_queues() {
  pending_queues_ = 0;
  for (Queue& queue : queues_) queue.stop();
}

void MmioTransport::reset() {
  if (std::exchange(is_active_, false)) device_.reset();
  pending_queues_ = 0;
  queues_.clear();
  host_.interrupt_status().set(0);
  // The generation goes on: a driver that was reading must see that it changed.
  state_ = MmioState{.config_generation = state_.config_generation};
  for (const uint16_t max_size : device_.queue_max_sizes()) {
    state_.queues.push_back(QueueState{.max_size = max_size});
  }
}

MmioState MmioTransport::save() const {
  MmioState saved = state_;
  saved.interrupt_status = host_.interrupt_status().bits();
  for (size_t index = 0; index < queues_.size(); ++index) saved.queues[index] = queues_[index].state();
  return saved;
}

Result<> MmioTransport::restore(const MmioState& saved) {
  CHECK(!is_active_);
  TRY(validate(saved, device_));
  state_ = saved;
  host_.interrupt_status().set(saved.interrupt_status);
  queues_.clear();
  if (!state_.has(status::kDriverOk) || state_.is_broken()) return {};
  if (auto activated = activate(true); !activated) {
    reset();
    return activated;
  }
  pending_queues_ = (1U << queues_.size()) - 1;
  return {};
}

}  // namespace lambdo::virtio
