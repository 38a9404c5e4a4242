#pragma once

#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"
#include "base/fd.h"

namespace lambdo::kvm {

/// ioctl(2) on one of KVM's descriptors, repeated where a signal interrupted it (a kick that came late); not
/// for KVM_RUN, where EINTR is an answer. `name` is the request's, for the error.
template <typename Argument>
Result<int> kvm_ioctl(const Fd& fd, unsigned long request, const char* name, Argument argument) {
  while (true) {
    const int result = ::ioctl(fd.get(), request, argument);
    if (result >= 0) return result;
    if (errno != EINTR) return fail_errno(name);
  }
}

}  // namespace lambdo::kvm
