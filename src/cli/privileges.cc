#include "cli/privileges.h"

#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace lambdo::cli {

// Of the nice values from 19 to -20: before ordinary programs, behind what the kernel's own threads need.
static constexpr int kServerNice = -10;
// Since Linux 6.12 a thread that wakes up for a shorter slice does not wait for the end of a longer one. This
// is the shortest there is; older kernels ignore it.
static constexpr uint64_t kServerSliceNs = 100'000;

Result<> drop_privileges() {
  for (unsigned long capability = 0; capability <= 63; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) break;     // behind the last one that the kernel knows
    if (errno == EPERM) return {};  // not privileged: nothing to give up
    return fail_errno("PR_CAPBSET_DROP");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("PR_SET_NO_NEW_PRIVS");
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  sets[0].permitted = sets[0].effective = 1U << CAP_NET_BIND_SERVICE;
  if (::syscall(SYS_capset, &header, sets) < 0) return fail_errno("capset");
  return {};
}

void raise_priority() {
  sched_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.sched_policy = SCHED_NORMAL;
  attributes.sched_flags = SCHED_FLAG_RESET_ON_FORK;
  attributes.sched_nice = kServerNice;
  attributes.sched_runtime = kServerSliceNs;
  // Not setpriority(2) where this fails: what that sets, all threads and programs started later inherit.
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace lambdo::cli
