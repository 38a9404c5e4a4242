#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/mapping.h"

namespace lambdo::reactor {

class BufferPool;

/// Bytes received from a stream; none at its end. Holds a buffer of the pool, or one of its own, and gives it
/// back when it dies, which must be before the reactor does.
class [[nodiscard]] Chunk {
 public:
  Chunk() = default;
  explicit Chunk(std::vector<std::byte> owned) : owned_(std::move(owned)), bytes_(owned_) {}
  Chunk(BufferPool& pool, uint16_t buffer_id, size_t len_bytes);
  Chunk(Chunk&& other) noexcept;
  Chunk& operator=(Chunk&& other) noexcept;
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;
  ~Chunk() { give_back(); }

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  void give_back();

  BufferPool* pool_ = nullptr;
  uint16_t buffer_id_ = 0;
  std::vector<std::byte> owned_;
  std::span<const std::byte> bytes_;
};

/// Receive buffers that the kernel picks from when data is there, so that a connection that waits holds none
/// (io_uring_register_buf_ring(3)). Without kernel support it stays inactive and receivers use buffers of
/// their own.
class BufferPool {
 public:
  static constexpr uint16_t kGroup = 1;
  static constexpr unsigned kCount = 256;  // a power of two
  static constexpr size_t kBufferBytes = 16384;

  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  Result<> activate(io_uring& ring);
  [[nodiscard]] bool active() const { return ring_ != nullptr; }
  [[nodiscard]] std::span<std::byte> buffer(uint16_t id) const;
  void give_back(uint16_t id);
  /// Chunks that hold a buffer now.
  [[nodiscard]] unsigned lent() const { return lent_; }

 private:
  friend Chunk;
  io_uring_buf_ring* ring_ = nullptr;
  Mapping ring_memory_;
  Mapping buffer_memory_;
  unsigned lent_ = 0;
};

}  // namespace lambdo::reactor
