#include "virtio_net/receive_window.h"

#include <algorithm>

#include "base/check.h"
#include "virtio/memory.h"

namespace lambdo::virtio_net {

Result<bool> ReceiveWindow::fill(virtio::Queue& queue, uint64_t wanted_bytes) {
  // A driver that offers one useless buffer after the other is stopped by the size of its queue.
  for (size_t round = 0; round < virtio::kMaxQueueSize && bytes_ < wanted_bytes; ++round) {
    make_room();
    if (chain_count_ == chains_.size() || kMaxParts - part_count_ < virtio::kMaxQueueSize) return true;
    const auto chain = TRY(queue.pop());
    if (!chain) return false;
    if (chain->writable_bytes() > kHeaderBytes) {
      append(*chain);
    } else if (empty()) {
      TRY(queue.push_used(chain->head(), 0));
    } else {
      // What is put back must be what was popped last: it has to stay behind those before.
      queue.unpop();
      return true;
    }
  }
  return true;
}

void ReceiveWindow::append(const virtio::DescriptorChain& chain) {
  const auto buffers = chain.writable();
  size_t at = first_part_ + part_count_;
  for (const virtio::Buffer& buffer : buffers) parts_[at++] = {buffer.data, buffer.len_bytes};
  chains_[first_chain_ + chain_count_++] = {chain.head(), static_cast<uint16_t>(buffers.size()),
                                            chain.writable_bytes()};
  part_count_ += buffers.size();
  bytes_ += chain.writable_bytes();
}

void ReceiveWindow::make_room() {
  if (first_part_ + part_count_ + virtio::kMaxQueueSize <= parts_.size() &&
      first_chain_ + chain_count_ < chains_.size()) {
    return;
  }
  std::copy_n(&parts_[first_part_], part_count_, parts_.begin());
  std::copy_n(&chains_[first_chain_], chain_count_, chains_.begin());
  first_part_ = 0;
  first_chain_ = 0;
}

size_t ReceiveWindow::frame_parts(bool only_first, std::span<iovec> parts) const {
  const size_t count = only_first ? chains_[first_chain_].parts : part_count_;
  size_t skip_bytes = kHeaderBytes;
  size_t written = 0;
  for (const iovec& part : std::span(parts_).subspan(first_part_, count)) {
    const size_t skipped = std::min(skip_bytes, part.iov_len);
    skip_bytes -= skipped;
    if (part.iov_len == skipped) continue;
    parts[written++] = {static_cast<std::byte*>(part.iov_base) + skipped, part.iov_len - skipped};
  }
  return written;
}

Result<> ReceiveWindow::use(virtio::Queue& queue, Header header, uint64_t frame_bytes) {
  std::array<virtio::UsedChain, virtio::kMaxQueueSize> used;
  uint64_t left_bytes = kHeaderBytes + frame_bytes;
  CHECK(left_bytes <= bytes_);
  size_t count = 0;
  while (left_bytes > 0) {
    const Chain& chain = chains_[first_chain_ + count];
    const uint64_t written_bytes = std::min(left_bytes, chain.bytes);
    used[count++] = {chain.head, static_cast<uint32_t>(written_bytes)};
    left_bytes -= written_bytes;
  }
  header.num_buffers = static_cast<uint16_t>(count);
  write_header(header);
  drop_front(count);
  return queue.push_used(std::span(used).first(count));
}

void ReceiveWindow::write_header(const Header& header) {
  auto left = std::as_bytes(std::span(&header, 1));
  for (size_t part = first_part_; !left.empty(); ++part) {
    const size_t count = std::min(left.size(), parts_[part].iov_len);
    virtio::copy_to_guest(static_cast<std::byte*>(parts_[part].iov_base), left.first(count));
    left = left.subspan(count);
  }
}

void ReceiveWindow::drop_front(size_t chains) {
  for (size_t i = 0; i < chains; ++i) {
    const Chain& chain = chains_[first_chain_++];
    --chain_count_;
    first_part_ += chain.parts;
    part_count_ -= chain.parts;
    bytes_ -= chain.bytes;
  }
}

void ReceiveWindow::give_back(virtio::Queue& queue) {
  for (; chain_count_ > 0; --chain_count_) queue.unpop();
  clear();
}

void ReceiveWindow::clear() {
  first_chain_ = 0;
  chain_count_ = 0;
  first_part_ = 0;
  part_count_ = 0;
  bytes_ = 0;
}

}  // namespace lambdo::virtio_net
