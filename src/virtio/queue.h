#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/error.h"
#include "virtio/chain.h"
#include "virtio/memory.h"

namespace lambdo::virtio {

/// All there is to know about a split virtqueue beyond the guest's memory. Plain, to be saved; untrusted
/// until validate() agreed.
struct QueueState {
  uint16_t max_size = 0;  ///< what the device offers
  uint16_t size = 0;      ///< what the driver chose, in entries
  bool ready = false;     ///< the driver handed the queue over
  bool event_idx = false;
  bool indirect = false;
  uint64_t descriptor_addr = 0;  ///< descriptor table
  uint64_t driver_addr = 0;      ///< available ring
  uint64_t device_addr = 0;      ///< used ring
  uint16_t next_avail = 0;       ///< the available entry to pop next, modulo 2^16
  uint16_t next_used = 0;        ///< the used entry to write next, modulo 2^16
  uint32_t unsignalled = 0;      ///< used entries since needs_notification was asked; stops at 65536

  /// Chains popped and not yet pushed.
  [[nodiscard]] uint16_t in_flight() const { return static_cast<uint16_t>(next_avail - next_used); }
  friend bool operator==(const QueueState&, const QueueState&) = default;
};

/// Whether a Queue can run on this state: max_size 1 to kMaxQueueSize; where ready, a size that is a power of
/// 2 within max_size, the three areas aligned and in memory (virtio 1.2, 2.7), indices that belong together.
/// Else invalid_argument.
Result<> validate(const QueueState& state, const GuestMemory& memory);

/// A chain given back: what Queue::push_used takes.
struct UsedChain {
  uint16_t head;
  uint32_t len_bytes;  ///< written, from its first writable byte on
};

/// The device's side of a split virtqueue (virtio 1.2, 2.7).
///
/// Every error means that the driver broke the rules: the device reports it by Interrupt::fail and stops.
/// A device that was woken runs
///
///     queue.disable_notifications();
///     while (budget.begin_round()) {
///       auto chain = TRY(queue.pop());
///       if (chain) { ...; TRY(queue.push_used(chain->head(), written_bytes)); }
///       else if (!queue.enable_notifications()) break;
///     }
///     if (queue.needs_notification()) interrupt.signal_used(index);
///
/// The rounds are limited (WorkBudget) even where nothing is popped: a hostile driver can move its index to
/// and fro. A queue that is not ready has no chains and ignores what is pushed.
class Queue {
 public:
  /// `memory` outlives the queue.
  static Result<Queue> create(const QueueState& state, const GuestMemory& memory);

  [[nodiscard]] const QueueState& state() const { return state_; }

  /// The next chain that the driver offers, or nullopt. After an error the queue has not moved.
  [[nodiscard]] Result<std::optional<DescriptorChain>> pop();

  /// The last chain popped is not wanted yet: the next pop() gives it again, as the driver has it by then.
  void unpop();

  /// Gives a popped chain back, with how many bytes from its first writable on are written. Chains may be
  /// given back in any order. internal where none is out or `head` is none.
  Result<> push_used(uint16_t head, uint32_t len_bytes);
  /// The same for several that belong together: the driver sees all of them or none.
  Result<> push_used(std::span<const UsedChain> chains);

  /// Whether the driver wants an interrupt for what was pushed since the last call (virtio 1.2, 2.7.7.2).
  [[nodiscard]] bool needs_notification();

  /// Asks the driver not to notify (virtio 1.2, 2.7.10). Only a hint.
  void disable_notifications();
  /// Asks it to notify again. True where chains came in the meantime, without a notification.
  [[nodiscard]] bool enable_notifications();

  /// The driver took the queue back, or the device failed: nothing in guest memory is touched any more.
  void stop() { state_.ready = false; }

 private:
  Queue(const QueueState& state, const GuestMemory& memory) : state_(state), memory_(&memory) {}

  [[nodiscard]] uint16_t available() const;

  QueueState state_;
  const GuestMemory* memory_;
  std::span<std::byte> descriptors_;
  std::span<std::byte> driver_area_;
  std::span<std::byte> device_area_;
};

}  // namespace lambdo::virtio
