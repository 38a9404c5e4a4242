#include "virtio_net/watch.h"

#include <poll.h>

#include <cerrno>

namespace lambdo::virtio_net {

void Watch::arm(int fd) {
  if (in_flight()) return;
  io_uring_sqe& entry = submit();
  io_uring_prep_poll_add(&entry, fd, purpose_ == For::reading ? POLLIN : POLLOUT);
  io_uring_sqe_set_data(&entry, static_cast<Operation*>(this));
}

void Watch::complete(int result, uint32_t /*flags*/) {
  const unsigned events = result > 0 ? static_cast<unsigned>(result) : 0;
  // tun answers POLLERR, and nothing else for ever, where its interface was deleted. A datagram socket's may
  // be an error that the next call tells and clears: it is readable then.
  const bool has_failed = (events & (POLLERR | POLLNVAL)) != 0 && (events & (POLLIN | POLLOUT)) == 0;
  if (purpose_ == For::reading) {
    waiting_.tap_readable(has_failed);
  } else {
    waiting_.tap_writable(has_failed);
  }
}

}  // namespace lambdo::virtio_net
