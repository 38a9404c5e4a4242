#pragma once

#include <utility>

#include "base/error.h"
#include "seccomp/filter.h"

namespace lambdo::kvm {

/// What a thread that runs vCPUs may ask of the kernel: KVM's ioctls, memory without code, eventfds, threads
/// of its own kind, and what libc needs for locks and allocations. All else is refused with EPERM: no file is
/// opened, no socket made, no program started. See the list in the .cc.
class VcpuFilter {
 public:
  /// Compiles the program, once for all threads. Errors: out of memory, or libseccomp refuses.
  static Result<VcpuFilter> create();

  /// Puts the filter on the calling thread, and on those that it starts from then on, for good. Sets
  /// no_new_privs. Errors: the kernel has no seccomp, or refuses.
  Result<> confine_thread() const;

 private:
  explicit VcpuFilter(seccomp::Program program) : program_(std::move(program)) {}

  seccomp::Program program_;
};

}  // namespace lambdo::kvm
