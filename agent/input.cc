#include "agent/input.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/syscalls.h"

namespace lambdo::agent {

Result<Fd> create_input() {
  Result<Fd> memory = sys::memfd("lambdo-input", MFD_ALLOW_SEALING);
  if (memory) return memory;
  return sys::open(".", O_TMPFILE | O_RDWR, 0600);
}

Result<> fill_input(int fd, std::string_view content) {
  // At explicit offsets: the executor shares the file's position.
  for (off_t offset = 0; !content.empty();) {
    const ssize_t count = ::pwrite(fd, content.data(), content.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("write the input");
    content.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  // The steps get the descriptor itself. EINVAL: not a memfd, and so a step can change what later ones read.
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0 &&
      errno != EINVAL) {
    return fail_errno("seal the input");
  }
  return {};
}

}  // namespace lambdo::agent
