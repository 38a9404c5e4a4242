#pragma once

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::namespaces {

/// The system call filter of every sandbox as a BPF program in a memfd, in the form that `bwrap --seccomp`
/// takes. Allows by default; what reaches rarely used parts of the kernel or makes namespaces fails with
/// EPERM, or with ENOSYS where programs know how to go on without it. Sockets are AF_UNIX, AF_INET, AF_INET6
/// and routing netlink. System calls of other ABIs (i386, x32) fail with ENOSYS.
Result<Fd> compile_seccomp_filter();

}  // namespace lambdo::namespaces
