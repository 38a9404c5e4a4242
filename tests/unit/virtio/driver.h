#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "virtio/chain.h"
#include "virtio/memory.h"
#include "virtio/mmio.h"
#include "virtio/queue.h"

/// The driver's side of virtio, scripted: for tests and fuzzers. It can break every rule on request.
namespace lambdo::virtio::testing {

/// Zeroed guest memory in regions of (guest address, length).
class TestMemory {
 public:
  TestMemory(std::initializer_list<std::pair<uint64_t, size_t>> regions) {
    std::vector<MemoryRegion> mapped;
    for (const auto& [guest_addr, len_bytes] : regions) {
      const size_t rounded_bytes = (len_bytes + 4095) / 4096 * 4096;
      auto* data = static_cast<std::byte*>(std::aligned_alloc(4096, rounded_bytes));
      CHECK(data != nullptr);
      std::memset(data, 0, rounded_bytes);
      blocks_.emplace_back(data);
      mapped.push_back({guest_addr, {data, len_bytes}});
    }
    auto memory = GuestMemory::create(mapped);
    CHECK(memory.has_value());
    memory_ = *memory;
  }

  [[nodiscard]] const GuestMemory& guest() const { return memory_; }
  void clear() const {
    for (const MemoryRegion& region : memory_.regions()) std::ranges::fill(region.bytes, std::byte{0});
  }

  [[nodiscard]] std::byte* at(uint64_t guest_addr, size_t len_bytes = 1) const {
    const auto bytes = memory_.slice(guest_addr, len_bytes);
    CHECK(bytes.has_value());
    return bytes->data();
  }

 private:
  struct Free {
    void operator()(std::byte* data) const { std::free(data); }
  };
  std::vector<std::unique_ptr<std::byte, Free>> blocks_;
  GuestMemory memory_;
};

/// A buffer to offer.
struct Part {
  uint64_t addr;
  uint32_t len_bytes;
  bool device_writable;
};

/// An entry of the used ring.
struct Used {
  uint32_t head;
  uint32_t len_bytes;
  friend bool operator==(const Used&, const Used&) = default;
};

/// One split virtqueue in `memory` from `base` on (page aligned), as its driver sees it.
class DriverQueue {
 public:
  DriverQueue(const TestMemory& memory, uint64_t base, uint16_t size)
      : memory_(memory),
        size_(size),
        descriptor_addr_(base),
        driver_addr_(base + sizeof(Descriptor) * size),
        device_addr_((driver_addr_ + 6 + 2 * uint64_t{size} + 3) & ~uint64_t{3}) {
    for (uint16_t index = size; index > 0; --index) free_.push_back(static_cast<uint16_t>(index - 1));
  }

  [[nodiscard]] uint16_t size() const { return size_; }
  [[nodiscard]] uint64_t descriptor_addr() const { return descriptor_addr_; }
  [[nodiscard]] uint64_t driver_addr() const { return driver_addr_; }
  [[nodiscard]] uint64_t device_addr() const { return device_addr_; }
  [[nodiscard]] uint64_t end_addr() const { return device_addr_ + 6 + 8 * uint64_t{size_}; }
  [[nodiscard]] size_t free_descriptors() const { return free_.size(); }

  /// The state of a device's queue that goes with this one, at this one's indices.
  [[nodiscard]] QueueState state(bool event_idx = false, bool indirect = false) const {
    return {.max_size = kMaxQueueSize,
            .size = size_,
            .ready = true,
            .event_idx = event_idx,
            .indirect = indirect,
            .descriptor_addr = descriptor_addr_,
            .driver_addr = driver_addr_,
            .device_addr = device_addr_,
            .next_avail = avail_index(),
            .next_used = used_index()};
  }

  /// Both rings start at `index`, as if so many requests were done.
  void start_at(uint16_t index) {
    store16(driver_addr_ + 2, index);
    store16(device_addr_ + 2, index);
    last_used_ = index;
  }

  /// Takes free descriptors for `parts`, offers them, returns the head.
  uint16_t add(std::span<const Part> parts) {
    std::vector<uint16_t> indices;
    for (size_t i = 0; i < parts.size(); ++i) indices.push_back(take_free());
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool last = i + 1 == parts.size();
      set_descriptor(indices[i], describe(parts[i], last, last ? uint16_t{0} : indices[i + 1]));
    }
    const uint16_t head = indices.front();
    chains_[head] = std::move(indices);
    offer(head);
    return head;
  }
  uint16_t add(std::initializer_list<Part> parts) { return add(std::span(parts.begin(), parts.size())); }

  /// The same through an indirect table at `table_addr`.
  uint16_t add_indirect(std::span<const Part> parts, uint64_t table_addr) {
    uint16_t i = 0;
    for (const Part& part : parts) {
      const bool last = i + size_t{1} == parts.size();
      set_entry(table_addr, i, describe(part, last, static_cast<uint16_t>(i + 1)));
      ++i;
    }
    const uint16_t head = take_free();
    set_descriptor(head,
                   {table_addr, static_cast<uint32_t>(i * sizeof(Descriptor)), Descriptor::kIndirect, 0});
    chains_[head] = {head};
    offer(head);
    return head;
  }
  uint16_t add_indirect(std::initializer_list<Part> parts, uint64_t table_addr) {
    return add_indirect(std::span(parts.begin(), parts.size()), table_addr);
  }

  void set_descriptor(uint16_t index, const Descriptor& descriptor) const {
    set_entry(descriptor_addr_, index, descriptor);
  }
  void set_entry(uint64_t table_addr, uint16_t index, const Descriptor& descriptor) const {
    CHECK(memory_.guest().write(table_addr + index * sizeof(Descriptor), descriptor).has_value());
  }

  /// Puts `head` into the available ring and moves its index (virtio 1.2, 2.7.13).
  void offer(uint16_t head) {
    const uint16_t index = avail_index();
    store16(driver_addr_ + 4 + 2 * uint64_t{index % uint32_t{size_}}, head);
    set_avail_index(static_cast<uint16_t>(index + 1));
  }

  void set_avail_flags(uint16_t flags) const { store16(driver_addr_, flags); }
  void set_avail_index(uint16_t index) const { store16(driver_addr_ + 2, index); }
  void set_used_event(uint16_t event) const { store16(driver_addr_ + 4 + 2 * uint64_t{size_}, event); }
  [[nodiscard]] uint16_t avail_index() const { return load16(driver_addr_ + 2); }
  [[nodiscard]] uint16_t used_flags() const { return load16(device_addr_); }
  [[nodiscard]] uint16_t used_index() const { return load16(device_addr_ + 2); }
  [[nodiscard]] uint16_t avail_event() const { return load16(device_addr_ + 4 + 8 * uint64_t{size_}); }

  /// The next entry of the used ring; its descriptors are free again.
  std::optional<Used> take_used() {
    if (used_index() == last_used_) return std::nullopt;
    const uint64_t entry_addr = device_addr_ + 4 + 8 * uint64_t{last_used_ % uint32_t{size_}};
    const Used used = {load<uint32_t>(memory_.at(entry_addr, 4)),
                       load<uint32_t>(memory_.at(entry_addr + 4, 4))};
    ++last_used_;
    const auto chain = chains_.find(static_cast<uint16_t>(used.head));
    if (chain != chains_.end()) {
      free_.insert(free_.end(), chain->second.rbegin(), chain->second.rend());
      chains_.erase(chain);
    }
    return used;
  }
  /// Takes all entries of the used ring, and how many there were. No more than a round: a device or a test
  /// that breaks the rules may have left anything there.
  size_t take_all_used() {
    size_t count = 0;
    while (count < size_ && take_used()) ++count;
    return count;
  }

 private:
  static Descriptor describe(const Part& part, bool last, uint16_t next) {
    const int flags = (part.device_writable ? Descriptor::kWrite : 0) | (last ? 0 : Descriptor::kNext);
    return {part.addr, part.len_bytes, static_cast<uint16_t>(flags), next};
  }

  uint16_t take_free() {
    CHECK(!free_.empty());
    const uint16_t index = free_.back();
    free_.pop_back();
    return index;
  }

  void store16(uint64_t guest_addr, uint16_t value) const {
    CHECK(memory_.guest().store_release<uint16_t>(guest_addr, value).has_value());
  }
  [[nodiscard]] uint16_t load16(uint64_t guest_addr) const {
    const auto value = memory_.guest().load_acquire<uint16_t>(guest_addr);
    CHECK(value.has_value());
    return *value;
  }

  const TestMemory& memory_;
  uint16_t size_;
  uint64_t descriptor_addr_;
  uint64_t driver_addr_;
  uint64_t device_addr_;
  uint16_t last_used_ = 0;
  std::vector<uint16_t> free_;
  std::map<uint16_t, std::vector<uint16_t>> chains_;
};

/// Receive buffers of a driver: slots of one size from an address on. Each is free, or posted with the chain
/// that it was offered in.
class ReceiveSlots {
 public:
  ReceiveSlots(uint64_t guest_addr, uint64_t slot_bytes, size_t count) {
    for (size_t i = 0; i < count; ++i) free_.push_back(guest_addr + i * slot_bytes);
  }

  /// The address of a free slot.
  uint64_t take() {
    CHECK(!free_.empty());
    const uint64_t guest_addr = free_.back();
    free_.pop_back();
    return guest_addr;
  }
  void post(uint16_t head, uint64_t guest_addr) { posted_[head] = guest_addr; }
  /// The chain was used: its slot is free again. Returns the slot's address.
  uint64_t release(const Used& used) {
    const auto posted = posted_.find(static_cast<uint16_t>(used.head));
    CHECK(posted != posted_.end());
    const uint64_t guest_addr = posted->second;
    posted_.erase(posted);
    free_.push_back(guest_addr);
    return guest_addr;
  }

 private:
  std::vector<uint64_t> free_;
  std::map<uint16_t, uint64_t> posted_;
};

/// Drives the registers of a transport as a driver does.
class MmioDriver {
 public:
  explicit MmioDriver(MmioTransport& transport) : transport_(transport) {}

  [[nodiscard]] uint32_t read(uint64_t offset) const {
    uint32_t value = 0;
    transport_.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(uint64_t offset, uint32_t value) {
    transport_.write(offset, std::as_bytes(std::span(&value, 1)));
  }

  [[nodiscard]] uint32_t device_status() const { return read(0x70); }
  void set_status(uint32_t bits) { write(0x70, device_status() | bits); }

  void write_features(uint64_t features) {
    for (uint32_t half = 0; half < 2; ++half) {
      write(0x24, half);
      write(0x20, static_cast<uint32_t>(features >> (32 * half)));
    }
  }

  /// Up to FEATURES_OK; whether the device took them.
  bool negotiate(uint64_t features) {
    write(0x70, 0);
    set_status(status::kAcknowledge);
    set_status(status::kDriver);
    write_features(features);
    set_status(status::kFeaturesOk);
    return (device_status() & status::kFeaturesOk) != 0;
  }

  void set_up_queue(uint32_t index, const DriverQueue& queue) {
    write(0x30, index);
    write(0x38, queue.size());
    const auto write_addr = [this](uint64_t offset, uint64_t addr) {
      write(offset, static_cast<uint32_t>(addr));
      write(offset + 4, static_cast<uint32_t>(addr >> 32));
    };
    write_addr(0x80, queue.descriptor_addr());
    write_addr(0x90, queue.driver_addr());
    write_addr(0xa0, queue.device_addr());
    write(0x44, 1);
  }

  /// The whole initialisation (virtio 1.2, 3.1.1); whether the device runs.
  bool start(uint64_t features, std::initializer_list<const DriverQueue*> queues) {
    if (!negotiate(features)) return false;
    uint32_t index = 0;
    for (const DriverQueue* queue : queues) set_up_queue(index++, *queue);
    set_status(status::kDriverOk);
    return device_status() ==
           (status::kAcknowledge | status::kDriver | status::kFeaturesOk | status::kDriverOk);
  }

  void notify(uint32_t queue) { write(MmioTransport::kNotifyOffset, queue); }

 private:
  MmioTransport& transport_;
};

}  // namespace lambdo::virtio::testing
