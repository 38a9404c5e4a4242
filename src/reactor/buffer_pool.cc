#include "reactor/buffer_pool.h"

#include <sys/mman.h>

#include <utility>

#include "base/check.h"

namespace lambdo::reactor {

Chunk::Chunk(BufferPool& pool, uint16_t buffer_id, size_t len_bytes)
    : pool_(&pool), buffer_id_(buffer_id), bytes_(pool.buffer(buffer_id).first(len_bytes)) {
  ++pool.lent_;
}

Chunk::Chunk(Chunk&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      buffer_id_(other.buffer_id_),
      owned_(std::move(other.owned_)),
      bytes_(std::exchange(other.bytes_, {})) {}

Chunk& Chunk::operator=(Chunk&& other) noexcept {
  if (this != &other) {
    give_back();
    pool_ = std::exchange(other.pool_, nullptr);
    buffer_id_ = other.buffer_id_;
    owned_ = std::move(other.owned_);
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void Chunk::give_back() {
  if (pool_ != nullptr) {
    --pool_->lent_;
    pool_->give_back(buffer_id_);
  }
  pool_ = nullptr;
  bytes_ = {};
}

Result<> BufferPool::activate(io_uring& ring) {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  ring_memory_ = TRY(Mapping::create(kCount * sizeof(io_uring_buf), kProtection, kFlags));
  buffer_memory_ = TRY(Mapping::create(kCount * kBufferBytes, kProtection, kFlags | MAP_NORESERVE));
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(ring_memory_.bytes().data());
  registration.ring_entries = kCount;
  registration.bgid = kGroup;
  if (const int error = io_uring_register_buf_ring(&ring, &registration, 0); error < 0) {
    return fail_errno(-error, "io_uring_register_buf_ring");
  }
  ring_ = reinterpret_cast<io_uring_buf_ring*>(ring_memory_.bytes().data());
  io_uring_buf_ring_init(ring_);
  for (unsigned id = 0; id < kCount; ++id) give_back(static_cast<uint16_t>(id));
  return {};
}

std::span<std::byte> BufferPool::buffer(uint16_t id) const {
  CHECK(id < kCount);
  return buffer_memory_.bytes().subspan(id * kBufferBytes, kBufferBytes);
}

void BufferPool::give_back(uint16_t id) {
  io_uring_buf_ring_add(ring_, buffer(id).data(), kBufferBytes, id, io_uring_buf_ring_mask(kCount), 0);
  io_uring_buf_ring_advance(ring_, 1);
}

}  // namespace lambdo::reactor
