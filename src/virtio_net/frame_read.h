#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "reactor/reactor.h"
#include "virtio_net/frame.h"
#include "virtio_net/receive_window.h"

namespace lambdo::virtio_net {

/// What a frame from the TAP is read into: a header that the guest cannot change, buffers in guest memory,
/// and a byte that is filled only where the frame is longer than they are.
class FrameTarget {
 public:
  /// Behind the header goes what ReceiveWindow::frame_parts says.
  void aim(const ReceiveWindow& window, bool only_first);
  /// Nothing is in guest memory any more.
  void disown();

  [[nodiscard]] std::span<const iovec> parts() const { return std::span(parts_).first(count_); }
  [[nodiscard]] const Header& header() const { return header_; }
  /// What a frame may be long, without its header.
  [[nodiscard]] uint64_t room_bytes() const { return room_bytes_; }

 private:
  Header header_{};
  std::byte beyond_{};
  size_t count_ = 0;
  uint64_t room_bytes_ = 0;
  std::array<iovec, ReceiveWindow::kMaxParts + 2> parts_{};
};

/// A read of one frame into guest memory that waits in the kernel until there is one.
class FrameRead final : public reactor::Operation {
 public:
  class Listener {
   public:
    /// The read ended; it has a result unless it was forgotten. Called from inside of the loop: only notes
    /// it.
    virtual void read_ended() = 0;

   protected:
    ~Listener() = default;
  };

  FrameRead(reactor::Reactor& reactor, Listener& listener) : Operation(reactor), listener_(listener) {}

  /// Not while in flight, nor while it has a result.
  void arm(int fd, const FrameTarget& target);
  /// It ends soon, with a frame or without one.
  void cancel() { request_cancel(); }
  [[nodiscard]] bool is_armed() const { return in_flight(); }
  [[nodiscard]] bool has_result() const { return result_.has_value(); }
  /// How many bytes came with the header, or -errno. Has one.
  int take_result();
  /// Its result is of no interest.
  void forget();

 private:
  void complete(int result, uint32_t flags) override;

  Listener& listener_;
  std::optional<int> result_;
  bool is_forgotten_ = false;
};

}  // namespace lambdo::virtio_net
