#include "kvm/vcpu_filter.h"

#include <linux/kvm.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cerrno>

namespace lambdo::kvm {

using seccomp::equals;
using seccomp::kAllow;
using seccomp::masked;
using seccomp::refuse;

namespace {

constexpr seccomp::Rule kRules[] = {
    // Descriptors: those of a VM are made by ioctl.
    {"close", kAllow},     // eventfds and guest memory that are done with
    {"eventfd2", kAllow},  // the eventfds of its devices
    {"write", kAllow},     // rings an eventfd, writes log lines
    {"writev", kAllow},    // log lines
    {"fstat", kAllow},     // libc, of what it writes to

    // Guest memory and the heap's.
    {"munmap", kAllow},   // gives memory back
    {"madvise", kAllow},  // gives memory back, with its addresses kept
    {"mremap", kAllow},   // grows a large allocation
    {"brk", kAllow},      // the heap

    // Locks and waiting.
    {"futex", kAllow},            // mutexes and condition variables
    {"sched_yield", kAllow},      // spinning
    {"clock_nanosleep", kAllow},  // pauses
    {"restart_syscall", kAllow},  // goes on waiting after a stop
    {"clock_gettime", kAllow},    // the clock where the vDSO has none
    {"gettimeofday", kAllow},     // the clock where the vDSO has none

    // Being a thread.
    {"set_robust_list", kAllow},    // libc, in each new thread
    {"rseq", kAllow},               // libc, in each new thread
    {"rt_sigprocmask", kAllow},     // unblocks the signal that kicks a vCPU
    {"rt_sigreturn", kAllow},       // the end of a signal's handler
    {"gettid", kAllow},             // the thread's or process's number
    {"getpid", kAllow},             // the thread's or process's number
    {"tgkill", kAllow},             // kicks another vCPU's thread
    {"getpriority", kAllow},        // the thread's priority
    {"setpriority", kAllow},        // the thread's priority
    {"sched_getaffinity", kAllow},  // how many processors there are
    {"exit", kAllow},               // the thread's end
    {"exit_group", kAllow},         // the process's end

    // The heap.
    {"getrandom", kAllow},  // a random number, once

    // Calls that are allowed with some arguments only.
    {"ioctl", kAllow, {masked(1, 0xff00, KVMIO << 8)}},          // KVM's requests
    {"mmap", kAllow, {masked(2, PROT_EXEC, 0)}},                 // memory without code
    {"mprotect", kAllow, {masked(2, PROT_EXEC, 0)}},             // memory without code
    {"clone", kAllow, {masked(0, CLONE_THREAD, CLONE_THREAD)}},  // threads, not processes
    {"clone3", refuse(ENOSYS)},  // no filter can look at its flags in memory: libc takes clone
    {"prctl", kAllow, {equals(0, PR_SET_NAME)}},  // the thread's name
    {"prctl", kAllow, {equals(0, PR_SET_VMA)}},   // names of memory
};

}  // namespace

Result<VcpuFilter> VcpuFilter::create() {
  return VcpuFilter(TRY(seccomp::compile("vCPU threads", refuse(EPERM), {kRules})));
}

Result<> VcpuFilter::confine_thread() const {
  return program_.confine_thread();
}

}  // namespace lambdo::kvm
