#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::virtio_net {

/// The host's end of a network device: each read and each write passes one frame behind a Header.
class Tap {
 public:
  /// Takes a TAP (tun.rst; IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, TUNSETVNETHDRSZ of kHeaderBytes), and makes it
  /// non-blocking and without a limit on what is written. invalid_argument where it is seen to be another
  /// kind. May wait for the kernel's network lock: where the TAP is opened, not on the reactor.
  static Result<Tap> adopt(Fd fd);
  /// Takes a datagram socket instead, which has no offloads to be set. While it is full the order of frames
  /// is not kept.
  static Result<Tap> of_socket(Fd fd);

  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Which offloads the reader of the TAP can deal with: those of `features` that are named GUEST. Frames
  /// that were queued before stay as they are. May wait for the kernel's network lock.
  [[nodiscard]] Result<> set_offloads(uint64_t features) const;
  [[nodiscard]] bool has_offloads() const { return is_tap_; }

  /// One frame with its header, in the kernel's order; nullopt where there is none. What does not fit is cut
  /// off.
  [[nodiscard]] Result<std::optional<size_t>> read(std::span<const iovec> parts) const;

 private:
  Tap(Fd fd, bool is_tap) : fd_(std::move(fd)), is_tap_(is_tap) {}

  Fd fd_;
  bool is_tap_;
};

}  // namespace lambdo::virtio_net
