#include "reactor/mailbox.h"

#include <sys/eventfd.h>

namespace lambdo::reactor {

void Mailbox::post(Letter letter) {
  letters_.push(std::move(letter));
  // Each rings for itself: a thread that relied on another's ring would wait where that one lost its
  // processor.
  ::eventfd_write(event_.get(), 1);
}

void Mailbox::deliver() {
  eventfd_t count = 0;
  // Cleared before the letters are taken: mail that comes in between rings again.
  ::eventfd_read(event_.get(), &count);
  letters_.take_all([](Letter letter) { letter(); });
}

}  // namespace lambdo::reactor
