#include "vsock/backlog.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace lambdo::vsock {

static constexpr size_t kFirstBytes = 16 << 10;

void Backlog::grow(size_t needed_bytes) {
  if (needed_bytes <= capacity_) return;
  const size_t larger = std::min(std::max({needed_bytes, 2 * capacity_, kFirstBytes}), max_bytes_);
  auto bytes = std::make_unique_for_overwrite<std::byte[]>(larger);
  size_t at = 0;
  for (const iovec& part : parts()) {
    if (part.iov_len > 0) std::memcpy(&bytes[at], part.iov_base, part.iov_len);
    at += part.iov_len;
  }
  bytes_ = std::move(bytes);
  capacity_ = larger;
  first_ = 0;
}

void Backlog::append(const virtio::DescriptorChain& chain, uint64_t offset, size_t len_bytes) {
  CHECK(len_bytes <= max_bytes_ - size_);
  if (len_bytes == 0) return;
  grow(size_ + len_bytes);
  const size_t end = (first_ + size_) % capacity_;
  const size_t straight_bytes = std::min(len_bytes, capacity_ - end);
  size_t copied_bytes = chain.copy_readable(offset, {&bytes_[end], straight_bytes});
  copied_bytes += chain.copy_readable(offset + straight_bytes, {bytes_.get(), len_bytes - straight_bytes});
  CHECK(copied_bytes == len_bytes);
  size_ += len_bytes;
}

std::array<iovec, 2> Backlog::parts() const {
  if (size_ == 0) return {};
  const size_t straight_bytes = std::min(size_, capacity_ - first_);
  return {iovec{&bytes_[first_], straight_bytes}, iovec{bytes_.get(), size_ - straight_bytes}};
}

void Backlog::drop_front(size_t len_bytes) {
  CHECK(len_bytes <= size_);
  size_ -= len_bytes;
  // An empty buffer starts over, so that it stays in one part where it can.
  first_ = size_ == 0 ? 0 : (first_ + len_bytes) % capacity_;
}

}  // namespace lambdo::vsock
