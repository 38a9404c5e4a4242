#include "virtio_net/write_batch.h"

#include <algorithm>

#include "base/check.h"

namespace lambdo::virtio_net {

void WriteBatch::Write::submit_to(int fd, std::span<const iovec> parts) {
  io_uring_sqe& entry = submit();
  io_uring_prep_writev(&entry, fd, parts.data(), static_cast<unsigned>(parts.size()), 0);
  io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
}

WriteBatch::WriteBatch(reactor::Reactor& reactor, Listener& listener) : listener_(listener) {
  for (size_t i = 0; i < kMaxFrames; ++i) writes_[i] = std::make_unique<Write>(reactor, *this, i);
}

bool WriteBatch::has_room() const {
  return count_ < kMaxFrames && kMaxParts - part_count_ >= kMaxFrameParts && bytes_ < kMaxBytes &&
         packets_ < kMaxPackets;
}

void WriteBatch::append_part(std::span<const std::byte> bytes) {
  parts_[part_count_++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};  // a write only reads
}

void WriteBatch::add(int fd, const virtio::DescriptorChain& chain, const Transmittable& frame,
                     std::span<const std::byte> start) {
  CHECK(has_room());
  Write& write = *writes_[count_];
  const size_t first_part = part_count_;
  write.header = frame.header;
  std::ranges::copy(start, write.start.begin());
  append_part(std::as_bytes(std::span(&write.header, 1)));
  append_part(std::span(write.start).first(start.size()));
  size_t skip_bytes = kHeaderBytes + start.size();
  for (const virtio::Buffer& buffer : chain.readable()) {
    const size_t skipped = std::min<size_t>(skip_bytes, buffer.len_bytes);
    skip_bytes -= skipped;
    if (skipped < buffer.len_bytes) append_part(buffer.bytes().subspan(skipped));
  }
  const uint64_t frame_bytes = chain.readable_bytes() - kHeaderBytes;
  frames_[count_++] = {.head = chain.head(), .frame_bytes = frame_bytes, .result = 0};
  bytes_ += frame_bytes;
  packets_ += frame.segments;
  ++in_flight_;
  write.submit_to(fd, std::span(parts_).subspan(first_part, part_count_ - first_part));
}

void WriteBatch::ended(size_t index, int result) {
  frames_[index].result = result;
  if (--in_flight_ == 0) listener_.writes_ended();
}

void WriteBatch::clear() {
  CHECK(!is_busy());
  count_ = 0;
  part_count_ = 0;
  bytes_ = 0;
  packets_ = 0;
  is_forgotten_ = false;
}

void WriteBatch::forget() {
  is_forgotten_ = true;
  std::ranges::fill(std::span(parts_).first(part_count_), iovec{});
}

void WriteBatch::cancel() {
  for (const std::unique_ptr<Write>& write : writes_) write->cancel();
}

}  // namespace lambdo::virtio_net
