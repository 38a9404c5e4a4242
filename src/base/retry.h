#pragma once

#include <cerrno>

namespace lambdo::sys {

/// Makes a system call again as long as a signal interrupts it. Gives what it returned, errno with it.
template <typename Call>
auto retry(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace lambdo::sys
