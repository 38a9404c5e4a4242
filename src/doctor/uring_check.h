#pragma once

#include "doctor/finding.h"

namespace lambdo::doctor {

/// Sets up a ring as the server does and tries what it uses: a failure where the server could not start, a
/// warning where it would take a slower path.
Finding uring_finding();

/// The finding for a ring that io_uring_setup(2) refuses with `os_errno`; `disabled` is the value of the
/// sysctl kernel.io_uring_disabled, 0 where the kernel has none.
Finding uring_refused_finding(int os_errno, int disabled);

}  // namespace lambdo::doctor
