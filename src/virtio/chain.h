#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "virtio/memory.h"

namespace lambdo::virtio {

/// The largest queue that a device may offer, and so the longest chain (virtio 1.2, 2.7.5.3.1).
inline constexpr uint16_t kMaxQueueSize = 256;

/// One entry of a descriptor table (virtio 1.2, 2.7.5).
struct Descriptor {
  static constexpr uint16_t kNext = 1;
  static constexpr uint16_t kWrite = 2;
  static constexpr uint16_t kIndirect = 4;

  uint64_t addr;
  uint32_t len_bytes;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

/// A part of guest memory that the driver lends to the device. It may change while the device looks at it.
struct Buffer {
  std::byte* data;
  uint32_t len_bytes;  ///< never 0
  bool device_writable;

  [[nodiscard]] std::span<std::byte> bytes() const { return {data, len_bytes}; }
};

/// The buffers of one request: first those the device reads, then those it writes. Descriptors of no length
/// are left out. A hostile driver may offer the same head or memory twice at a time.
class DescriptorChain {
 public:
  /// 2^32 (virtio 1.2, 2.7.5.2).
  static constexpr uint64_t kMaxBytes = uint64_t{1} << 32;

  explicit DescriptorChain(uint16_t head) : head_(head) {}
  DescriptorChain(const DescriptorChain& other);
  DescriptorChain& operator=(const DescriptorChain& other);
  ~DescriptorChain() = default;

  /// What Queue::push_used takes.
  [[nodiscard]] uint16_t head() const { return head_; }
  [[nodiscard]] std::span<const Buffer> buffers() const { return {buffers_.data(), count_}; }
  [[nodiscard]] std::span<const Buffer> readable() const { return buffers().first(readable_count_); }
  [[nodiscard]] std::span<const Buffer> writable() const { return buffers().subspan(readable_count_); }
  [[nodiscard]] uint64_t readable_bytes() const { return readable_bytes_; }
  [[nodiscard]] uint64_t writable_bytes() const { return writable_bytes_; }

  /// Copies from `offset` of the readable bytes on; returns how many were there.
  size_t copy_readable(uint64_t offset, std::span<std::byte> to) const;
  /// Copies to `offset` of the writable bytes on; returns how many had room.
  size_t copy_writable(uint64_t offset, std::span<const std::byte> from) const;

  /// Appends; readable buffers come first. At most kMaxQueueSize.
  void append(const Buffer& buffer);

 private:
  uint16_t head_;
  uint16_t count_ = 0;
  uint16_t readable_count_ = 0;
  uint64_t readable_bytes_ = 0;
  uint64_t writable_bytes_ = 0;
  // Only the first count_ are initialised: a chain is made for every request.
  std::array<Buffer, kMaxQueueSize> buffers_;  // NOLINT(cppcoreguidelines-pro-type-member-init)
};

/// Where chains are read from.
struct DescriptorTable {
  const GuestMemory& memory;
  std::span<const std::byte> entries;  ///< 16 bytes each, as many as the queue is long
  bool indirect_allowed;               ///< VIRTIO_F_INDIRECT_DESC is negotiated
};

/// Reads the chain that starts at its head into `chain`, each descriptor once. invalid_argument for what
/// virtio 1.2, 2.7.4 and 2.7.5 forbid.
Result<> read_chain(const DescriptorTable& table, DescriptorChain& chain);

}  // namespace lambdo::virtio
