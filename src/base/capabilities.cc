#include "base/capabilities.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace lambdo::sys {

/// Programs that are started later get no more than `kept` either. Without CAP_SETPCAP that takes
/// no_new_privs alone.
static Result<> bound_capabilities() {
  for (unsigned long capability = 0; capability <= 63; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL || errno == EPERM)
      break;  // behind the last one that the kernel knows; not privileged
    return fail_errno("PR_CAPBSET_DROP");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("PR_SET_NO_NEW_PRIVS");
  return {};
}

Result<> keep_capabilities(uint64_t kept) {
  TRY(bound_capabilities());
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, sets) < 0) return fail_errno("capget");
  for (unsigned word = 0; word < _LINUX_CAPABILITY_U32S_3; ++word) {
    sets[word].permitted &= static_cast<uint32_t>(kept >> (32 * word));
    sets[word].effective = sets[word].permitted;
    sets[word].inheritable = 0;
  }
  if (::syscall(SYS_capset, &header, sets) < 0) return fail_errno("capset");
  return {};
}

}  // namespace lambdo::sys
