#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/error.h"
#include "virtio/chain.h"
#include "virtio/queue.h"
#include "virtio_net/frame.h"

namespace lambdo::virtio_net {

/// Receive buffers taken from their queue while frames are put into them, the next to be used first. Between
/// wake-ups it is empty: what was not used is back in the queue.
class ReceiveWindow {
 public:
  /// As many parts of memory as buffers may consist of. With the header and a byte behind the end they are
  /// what readv(2) takes.
  static constexpr size_t kMaxParts = 1022;

  [[nodiscard]] size_t chains() const { return chain_count_; }
  [[nodiscard]] bool empty() const { return chain_count_ == 0; }
  /// All that fits into it, the header included.
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

  /// Takes buffers until there are `wanted_bytes`. Those that cannot take a frame's header go back empty, for
  /// they are of no use. False where the queue has no more; true also where a buffer must wait until others
  /// are used.
  Result<bool> fill(virtio::Queue& queue, uint64_t wanted_bytes);

  /// Where a frame goes, behind its header: into the first chain, or all. Into `parts`, of at least
  /// kMaxParts; returns how many.
  size_t frame_parts(bool only_first, std::span<iovec> parts) const;

  /// The frame is there: writes its header in front of it and gives the chains back that it lies in, all at
  /// once (5.1.6.4). It fits.
  Result<> use(virtio::Queue& queue, Header header, uint64_t frame_bytes);

  /// What is left goes back to the queue.
  void give_back(virtio::Queue& queue);
  /// The queue is not there any more.
  void clear();

 private:
  struct Chain {
    uint16_t head;
    uint16_t parts;
    uint64_t bytes;
  };

  void append(const virtio::DescriptorChain& chain);
  void make_room();
  void write_header(const Header& header);
  void drop_front(size_t chains);

  // Both from first_* on; they move to the front when there is no room behind them.
  std::array<Chain, virtio::kMaxQueueSize> chains_{};
  std::array<iovec, kMaxParts> parts_{};
  size_t first_chain_ = 0;
  size_t chain_count_ = 0;
  size_t first_part_ = 0;
  size_t part_count_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace lambdo::virtio_net
