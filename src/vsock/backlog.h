#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "virtio/chain.h"

namespace lambdo::vsock {

/// A bounded first-in-first-out buffer of bytes. It grows to what is needed, and keeps it.
class Backlog {
 public:
  explicit Backlog(size_t max_bytes) : max_bytes_(max_bytes) {}

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  /// Copies `len_bytes` from `offset` of the chain's readable bytes on; they are there, and there is room.
  void append(const virtio::DescriptorChain& chain, uint64_t offset, size_t len_bytes);
  /// All bytes, oldest first, in two parts of which either may be empty.
  [[nodiscard]] std::array<iovec, 2> parts() const;
  void drop_front(size_t len_bytes);
  void clear() { drop_front(size_); }

 private:
  void grow(size_t needed_bytes);

  size_t max_bytes_;
  size_t capacity_ = 0;
  size_t first_ = 0;
  size_t size_ = 0;
  std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace lambdo::vsock
