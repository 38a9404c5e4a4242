#include "virtio_net/frame_read.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lambdo::virtio_net {

void FrameTarget::aim(const ReceiveWindow& window, bool only_first) {
  parts_[0] = {&header_, kHeaderBytes};
  const size_t guest_parts = window.frame_parts(only_first, std::span(parts_).subspan(1));
  room_bytes_ = 0;
  for (const iovec& part : std::span(parts_).subspan(1, guest_parts)) room_bytes_ += part.iov_len;
  count_ = 1 + guest_parts;
  parts_[count_++] = {&beyond_, 1};
}

/// The kernel looks at the parts when it takes the read, and not again. Where it took it already, it is
/// cancelled before it can look for a frame: both happen inside io_uring_enter(2), submissions first.
void FrameTarget::disown() {
  std::ranges::fill(std::span(parts_).first(count_), iovec{});
}

void FrameRead::arm(int fd, const FrameTarget& target) {
  CHECK(!in_flight() && !result_);
  is_forgotten_ = false;
  io_uring_sqe& entry = submit();
  io_uring_prep_readv(&entry, fd, target.parts().data(), static_cast<unsigned>(target.parts().size()), 0);
  io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
}

int FrameRead::take_result() {
  CHECK(result_.has_value());
  return *std::exchange(result_, std::nullopt);
}

void FrameRead::forget() {
  is_forgotten_ = in_flight();
  result_.reset();
}

void FrameRead::complete(int result, uint32_t /*flags*/) {
  if (!is_forgotten_) result_ = result;
  listener_.read_ended();
}

}  // namespace lambdo::virtio_net
