#include "reactor/mailbox.h"

#include <sys/eventfd.h>

namespace lambdo::reactor {

void Mailbox::post(Letter letter) {
  // Whoever finds the box empty rings; the others' mail is taken by the same delivery.
  if (letters_.push(std::move(letter))) ::eventfd_write(event_.get(), 1);
}

void Mailbox::deliver() {
  eventfd_t count = 0;
  // Cleared before the letters are taken: mail that comes in between rings again.
  ::eventfd_read(event_.get(), &count);
  for (Letter& letter : letters_.take_all()) letter();
}

}  // namespace lambdo::reactor
