#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "reactor/reactor.h"
#include "virtio/chain.h"
#include "virtio_net/frame.h"

namespace lambdo::virtio_net {

/// Frames of the guest's that go to the TAP together: one io_uring write each, all submitted by the same
/// system call. What the kernel is given of a frame's start is a copy that the guest cannot change, the rest
/// lies in guest memory. It is filled, then busy until its last write ended, then emptied.
class WriteBatch {
 public:
  static constexpr size_t kMaxFrames = 64;
  /// Filled no further than this. The kernel passes them to their receivers while we wait.
  static constexpr uint64_t kMaxBytes = 512 << 10;
  static constexpr uint32_t kMaxPackets = 256;

  class Listener {
   public:
    /// The last write of the batch ended. Called from inside of the loop: only notes it.
    virtual void writes_ended() = 0;

   protected:
    ~Listener() = default;
  };

  /// A frame in it.
  struct Frame {
    uint16_t head;         ///< of its chain
    uint64_t frame_bytes;  ///< without virtio's header
    int result;            ///< what was written, header included, or -errno
  };

  WriteBatch(reactor::Reactor& reactor, Listener& listener);
  WriteBatch(const WriteBatch&) = delete;
  WriteBatch& operator=(const WriteBatch&) = delete;
  ~WriteBatch() = default;

  /// Whether another frame may be added.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool empty() const { return count_ == 0; }
  /// The kernel holds writes of it.
  [[nodiscard]] bool is_busy() const { return in_flight_ > 0; }

  /// Submits the frame that lies in `chain` behind its header. `start` are its first bytes, no more than
  /// FrameStart::kMaxBytes, as they were checked. There is room.
  void add(int fd, const virtio::DescriptorChain& chain, const Transmittable& frame,
           std::span<const std::byte> start);

  /// Those that were added, in their order. Their chains' heads are of no use where is_forgotten().
  [[nodiscard]] std::span<const Frame> frames() const { return std::span(frames_).first(count_); }
  [[nodiscard]] bool is_forgotten() const { return is_forgotten_; }
  /// Not busy.
  void clear();

  /// The queue is not there any more: what the kernel has not taken yet is nothing.
  void forget();
  /// Writes that wait for room end soon, without it.
  void cancel();

 private:
  class Write final : public reactor::Operation {
   public:
    Write(reactor::Reactor& reactor, WriteBatch& batch, size_t index)
        : Operation(reactor), batch_(batch), index_(index) {}
    void submit_to(int fd, std::span<const iovec> parts);
    void cancel() { request_cancel(); }

    Header header{};
    std::array<std::byte, FrameStart::kMaxBytes> start{};

   private:
    void complete(int result, uint32_t /*flags*/) override { batch_.ended(index_, result); }
    WriteBatch& batch_;
    size_t index_;
  };

  // Headers, starts, and the parts of chains, of which any may have as many as a queue is long.
  static constexpr size_t kMaxParts = 1024;
  static constexpr size_t kMaxFrameParts = virtio::kMaxQueueSize + 2;

  void append_part(std::span<const std::byte> bytes);
  void ended(size_t index, int result);

  Listener& listener_;
  std::array<std::unique_ptr<Write>, kMaxFrames> writes_;
  std::array<Frame, kMaxFrames> frames_{};
  std::array<iovec, kMaxParts> parts_{};
  size_t count_ = 0;
  size_t part_count_ = 0;
  size_t in_flight_ = 0;
  uint64_t bytes_ = 0;
  uint32_t packets_ = 0;
  bool is_forgotten_ = false;
};

}  // namespace lambdo::virtio_net
