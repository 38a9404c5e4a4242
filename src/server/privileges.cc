#include "server/privileges.h"

#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/capabilities.h"

namespace lambdo::server {

// Of the nice values from 19 to -20: before ordinary programs, behind what the kernel's own threads need.
static constexpr int kServerNice = -10;
// Since Linux 6.12 a thread that wakes up for a shorter slice does not wait for the end of a longer one. This
// is the shortest there is; older kernels ignore it.
static constexpr uint64_t kServerSliceNs = 100'000;

// sched_setattr(2), struct sched_attr in its first version. The kernel's header of it cannot be included
// beside the C library's <sched.h>: both define sched_param.
struct SchedulingAttributes {
  uint32_t size;
  uint32_t sched_policy;
  uint64_t sched_flags;
  int32_t sched_nice;
  uint32_t sched_priority;
  uint64_t sched_runtime;
  uint64_t sched_deadline;
  uint64_t sched_period;
};

Result<> drop_privileges() {
  return sys::keep_capabilities(sys::capability_bit(CAP_NET_BIND_SERVICE));
}

void raise_priority() {
  SchedulingAttributes attributes{};
  attributes.size = sizeof attributes;
  attributes.sched_policy = SCHED_OTHER;
  attributes.sched_flags = SCHED_FLAG_RESET_ON_FORK;
  attributes.sched_nice = kServerNice;
  attributes.sched_runtime = kServerSliceNs;
  // Not setpriority(2) where this fails: what that sets, all threads and programs started later inherit.
  ::syscall(SYS_sched_setattr, 0, &attributes, 0);
}

}  // namespace lambdo::server
