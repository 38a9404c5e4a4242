#include "reactor/mailbox.h"

#include <sys/eventfd.h>

namespace lambdo::reactor {

void Mailbox::post(Letter letter) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    was_empty = letters_.empty();
    letters_.push_back(std::move(letter));
  }
  // Whoever finds the box empty rings; the others' mail is taken by the same delivery.
  if (was_empty) ::eventfd_write(event_.get(), 1);
}

void Mailbox::deliver() {
  eventfd_t count = 0;
  // Cleared before the letters are taken: mail that comes in between rings again.
  ::eventfd_read(event_.get(), &count);
  std::vector<Letter> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
  }
  for (Letter& letter : letters) letter();
}

}  // namespace lambdo::reactor
