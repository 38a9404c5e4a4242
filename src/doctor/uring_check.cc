#include "doctor/uring_check.h"

#include <cerrno>
#include <string>

#include "base/error.h"
#include "base/syscalls.h"
#include "reactor/uring_probe.h"

namespace lambdo::doctor {

static int disabled_setting() {
  const std::string text = sys::read_file("/proc/sys/kernel/io_uring_disabled").value_or("0");
  return text.empty() ? 0 : text[0] - '0';
}

Finding uring_refused_finding(int os_errno, int disabled) {
  static const std::string kName = "io_uring";
  if (disabled == 2) {
    return {Grade::failure, kName, "switched off for everybody", "sysctl -w kernel.io_uring_disabled=0"};
  }
  if (disabled == 1 && os_errno == EPERM) {
    return {Grade::failure, kName, "switched off for unprivileged users",
            "sysctl -w kernel.io_uring_disabled=0, or put the user into the group of kernel.io_uring_group"};
  }
  const std::string found = errno_error(os_errno, "io_uring_setup").message;
  if (os_errno == EINVAL) {
    return {Grade::failure, kName, found + " (no DEFER_TASKRUN or SINGLE_ISSUER)", "use Linux 6.1 or newer"};
  }
  if (os_errno == ENOSYS || os_errno == EPERM) {
    return {Grade::failure, kName, found,
            "use a kernel with CONFIG_IO_URING; in a container, allow io_uring_setup in its seccomp profile"};
  }
  return {Grade::failure, kName, found, "raise the limit the message speaks of (ulimit -a)"};
}

Finding uring_finding() {
  static const std::string kName = "io_uring";
  const reactor::UringSupport support = reactor::probe_uring();
  if (support.setup_errno != 0) return uring_refused_finding(support.setup_errno, disabled_setting());
  if (!support.missing_operations.empty()) {
    return {Grade::failure, kName, "operations missing: " + support.missing_operations,
            "use Linux 6.1 or newer"};
  }
  std::string slow;
  if (!support.multishot_accept) slow = "multishot accept";
  if (!support.provided_buffers)
    slow += (slow.empty() ? "" : ", ") + std::string("multishot receive into provided buffers");
  if (!slow.empty()) {
    return {Grade::warning, kName, "available, without " + slow,
            "use Linux 6.1 or newer; the server works without, slower"};
  }
  return {Grade::ok, kName, "available, with deferred task work, multishot and provided buffers", ""};
}

}  // namespace lambdo::doctor
