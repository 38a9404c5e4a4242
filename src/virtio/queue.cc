#include "virtio/queue.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace lambdo::virtio {

namespace {

constexpr uint32_t kMaxUnsignalled = 1 << 16;

// virtio 1.2, 2.7.6 and 2.7.8: both rings start with flags and idx and end with the other side's event index.
constexpr size_t kFlagsOffset = 0;
constexpr size_t kIndexOffset = 2;
constexpr size_t kRingOffset = 4;
constexpr size_t kAvailEntryBytes = 2;
constexpr size_t kUsedEntryBytes = 8;
constexpr uint16_t kAvailNoInterrupt = 1;
constexpr uint16_t kUsedNoNotify = 1;

struct Areas {
  std::span<std::byte> descriptors;
  std::span<std::byte> driver;
  std::span<std::byte> device;
};

Result<std::span<std::byte>> area(const GuestMemory& memory, const char* name, uint64_t guest_addr,
                                  uint64_t alignment, uint64_t len_bytes) {
  if (guest_addr % alignment != 0) {
    return fail(Code::invalid_argument, std::string(name) + " at " + hex(guest_addr) + " is not aligned to " +
                                            std::to_string(alignment));
  }
  auto bytes = memory.slice(guest_addr, len_bytes);
  if (!bytes) return std::unexpected(std::move(bytes).error().with_context(name));
  return bytes;
}

// The alignments and sizes are the table of virtio 1.2, 2.7.
Result<Areas> find_areas(const QueueState& state, const GuestMemory& memory) {
  return Areas{
      TRY(area(memory, "descriptor table", state.descriptor_addr, 16, sizeof(Descriptor) * state.size)),
      TRY(area(memory, "available ring", state.driver_addr, 2, 6 + kAvailEntryBytes * state.size)),
      TRY(area(memory, "used ring", state.device_addr, 4, 6 + kUsedEntryBytes * state.size)),
  };
}

}  // namespace

Result<> validate(const QueueState& state, const GuestMemory& memory) {
  if (state.max_size == 0 || state.max_size > kMaxQueueSize) {
    return fail(Code::invalid_argument, "queue limit " + std::to_string(state.max_size) + " is not 1 to " +
                                            std::to_string(kMaxQueueSize));
  }
  if (!state.ready) return {};
  if (!std::has_single_bit(state.size) || state.size > state.max_size) {
    return fail(Code::invalid_argument, "queue size " + std::to_string(state.size) +
                                            " is not a power of 2 up to " + std::to_string(state.max_size));
  }
  if (state.in_flight() > state.size) {
    return fail(Code::invalid_argument, "queue of " + std::to_string(state.size) + " has " +
                                            std::to_string(state.in_flight()) + " chains in flight");
  }
  if (state.unsignalled > kMaxUnsignalled) {
    return fail(Code::invalid_argument, "queue has too many unsignalled entries");
  }
  TRY(find_areas(state, memory));
  return {};
}

Result<Queue> Queue::create(const QueueState& state, const GuestMemory& memory) {
  TRY(validate(state, memory));
  Queue queue(state, memory);
  if (state.ready) {
    const Areas areas = TRY(find_areas(state, memory));
    queue.descriptors_ = areas.descriptors;
    queue.driver_area_ = areas.driver;
    queue.device_area_ = areas.device;
  }
  return queue;
}

uint16_t Queue::available() const {
  // Acquire: the entries and descriptors that this index announces are read after it (2.7.13.3.1).
  return load<uint16_t>(&driver_area_[kIndexOffset], std::memory_order_acquire);
}

Result<std::optional<DescriptorChain>> Queue::pop() {
  if (!state_.ready) return std::nullopt;
  const uint16_t pending = static_cast<uint16_t>(available() - state_.next_avail);
  if (pending == 0) return std::nullopt;
  // Each chain takes a descriptor until it is used, so no more than the queue's size can be out (2.7.13);
  // an index that goes back (2.7.6.1) looks like a far jump.
  if (pending + state_.in_flight() > state_.size) {
    return fail(Code::invalid_argument, "available index is " + std::to_string(pending) + " ahead with " +
                                            std::to_string(state_.in_flight()) +
                                            " in flight, in a queue of " + std::to_string(state_.size));
  }
  const size_t slot = state_.next_avail & (state_.size - 1);
  const auto head = load<uint16_t>(&driver_area_[kRingOffset + kAvailEntryBytes * slot]);
  Result<std::optional<DescriptorChain>> chain(std::in_place, std::in_place, head);
  auto walked = read_chain({*memory_, descriptors_, state_.indirect}, **chain);
  if (!walked) return std::unexpected(std::move(walked).error());
  ++state_.next_avail;
  return chain;
}

void Queue::unpop() {
  if (!state_.ready) return;
  CHECK(state_.in_flight() > 0);
  --state_.next_avail;
}

Result<> Queue::push_used(uint16_t head, uint32_t len_bytes) {
  const UsedChain chain = {head, len_bytes};
  return push_used(std::span(&chain, 1));
}

Result<> Queue::push_used(std::span<const UsedChain> chains) {
  if (!state_.ready) return {};
  if (chains.size() > state_.in_flight()) {
    return fail(Code::internal, std::to_string(chains.size()) + " chains given back, but only " +
                                    std::to_string(state_.in_flight()) + " are out");
  }
  uint16_t next_used = state_.next_used;
  for (const auto& [head, len_bytes] : chains) {
    if (head >= state_.size) {
      return fail(Code::internal, "chain " + std::to_string(head) + " given back, which is none");
    }
    const size_t slot = next_used++ & (state_.size - 1);
    std::byte* entry = &device_area_[kRingOffset + kUsedEntryBytes * slot];
    store<uint32_t>(entry, head);
    store<uint32_t>(entry + 4, len_bytes);
  }
  state_.next_used = next_used;
  // Release: the driver sees the entries and the data before the index (2.7.8.2).
  store<uint16_t>(&device_area_[kIndexOffset], next_used, std::memory_order_release);
  const auto count = static_cast<uint32_t>(chains.size());
  state_.unsignalled = std::min(state_.unsignalled + count, kMaxUnsignalled);
  return {};
}

bool Queue::needs_notification() {
  if (!state_.ready || state_.unsignalled == 0) return false;
  const uint32_t pushed = std::exchange(state_.unsignalled, 0);
  // The used index must be visible before the driver's wish is read, else both sides may wait.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!state_.event_idx) {
    return (load<uint16_t>(&driver_area_[kFlagsOffset]) & kAvailNoInterrupt) == 0;
  }
  const auto used_event = load<uint16_t>(&driver_area_[kRingOffset + kAvailEntryBytes * state_.size]);
  // Was the entry `used_event` among the last `pushed`? All indices are modulo 2^16.
  return static_cast<uint16_t>(state_.next_used - 1 - used_event) < pushed;
}

void Queue::disable_notifications() {
  // With event indices the driver is quiet by itself once past avail_event, and flags stay 0 (2.7.10.2).
  if (!state_.ready || state_.event_idx) return;
  store<uint16_t>(&device_area_[kFlagsOffset], kUsedNoNotify);
}

bool Queue::enable_notifications() {
  if (!state_.ready) return false;
  if (state_.event_idx) {
    store<uint16_t>(&device_area_[kRingOffset + kUsedEntryBytes * state_.size], state_.next_avail);
  } else {
    store<uint16_t>(&device_area_[kFlagsOffset], 0);
  }
  // The wish must be visible before the index is read again: the driver writes and reads the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return available() != state_.next_avail;
}

}  // namespace lambdo::virtio
