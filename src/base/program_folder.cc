#include "base/program_folder.h"

#include <unistd.h>

#include <climits>

namespace lambdo::sys {

Result<std::string> program_folder() {
  char path[PATH_MAX];
  const ssize_t len_bytes = ::readlink("/proc/self/exe", path, sizeof path);
  if (len_bytes < 0) return fail_errno("readlink /proc/self/exe");
  const std::string program(path, static_cast<size_t>(len_bytes));
  return program.substr(0, program.rfind('/'));
}

}  // namespace lambdo::sys
