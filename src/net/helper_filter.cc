#include "net/helper_filter.h"

#include <sched.h>
#include <sys/socket.h>

#include <cerrno>

#include "seccomp/filter.h"

namespace lambdo::net {

using seccomp::equals;
using seccomp::kAllow;

namespace {

constexpr seccomp::Rule kAllowed[] = {
    // Memory, time, signals, itself.
    {"brk", kAllow},                // the heap
    {"mmap", kAllow},               // memory
    {"munmap", kAllow},             // memory
    {"mremap", kAllow},             // memory
    {"mprotect", kAllow},           // memory
    {"madvise", kAllow},            // memory
    {"clock_gettime", kAllow},      // deadlines
    {"clock_nanosleep", kAllow},    // waits for a predecessor's end
    {"nanosleep", kAllow},          // waits for a predecessor's end
    {"gettimeofday", kAllow},       // libc
    {"getrandom", kAllow},          // the heap, hash tables
    {"rt_sigaction", kAllow},       // libc
    {"rt_sigprocmask", kAllow},     // libc
    {"rt_sigreturn", kAllow},       // the end of a signal's handler
    {"restart_syscall", kAllow},    // goes on waiting after a stop
    {"sigaltstack", kAllow},        // sanitizers
    {"futex", kAllow},              // locks of libraries
    {"rseq", kAllow},               // libc
    {"getpid", kAllow},             // netlink's port numbers, log lines
    {"gettid", kAllow},             // log lines
    {"getuid", kAllow},             // libnftables
    {"geteuid", kAllow},            // libnftables
    {"getgid", kAllow},             // libnftables
    {"getegid", kAllow},            // libnftables
    {"tgkill", kAllow},             // abort
    {"sched_yield", kAllow},        // spinning
    {"sched_getaffinity", kAllow},  // how many processors there are
    {"prlimit64", kAllow},          // libc, of its stack and descriptors
    {"uname", kAllow},              // libxtables, which libnftables brings
    {"exit", kAllow},               // its end
    {"exit_group", kAllow},         // its end

    // Files: the journal, /proc/sys, /sys, /dev/net/tun, what libnftables reads of names.
    {"open", kAllow},        // libraries
    {"openat", kAllow},      // the journal and all other files
    {"close", kAllow},       // the journal and all other files
    {"read", kAllow},        // the journal and all other files
    {"pread64", kAllow},     // the journal and all other files
    {"readv", kAllow},       // the journal and all other files
    {"write", kAllow},       // the journal, /proc/sys, log lines
    {"writev", kAllow},      // log lines
    {"lseek", kAllow},       // the journal
    {"stat", kAllow},        // libraries
    {"lstat", kAllow},       // libraries
    {"fstat", kAllow},       // sizes
    {"newfstatat", kAllow},  // sizes
    {"statx", kAllow},       // sizes
    {"access", kAllow},      // whether a file is there
    {"faccessat", kAllow},   // whether a file is there
    {"faccessat2", kAllow},  // whether a file is there
    {"readlink", kAllow},    // names below /proc and /sys
    {"readlinkat", kAllow},  // names below /proc and /sys
    {"getdents64", kAllow},  // folders
    {"mkdir", kAllow},       // the journal's folder
    {"mkdirat", kAllow},     // the journal's folder
    {"unlink", kAllow},      // a journal that is done with
    {"unlinkat", kAllow},    // a journal that is done with
    {"rename", kAllow},      // a journal written anew
    {"renameat", kAllow},    // a journal written anew
    {"renameat2", kAllow},   // a journal written anew
    {"ftruncate", kAllow},   // the journal
    {"fallocate", kAllow},   // the journal
    {"flock", kAllow},       // the journal's lock
    {"fcntl", kAllow},       // flags of descriptors
    {"dup", kAllow},         // copies of descriptors
    {"dup3", kAllow},        // copies of descriptors
    {"ioctl", kAllow},       // TAP devices and interfaces

    // Netlink and the server.
    {"bind", kAllow},         // netlink's ports, and the name that locks the bridge
    {"listen", kAllow},       // the bridge's lock
    {"connect", kAllow},      // the bridge's lock
    {"getsockname", kAllow},  // netlink's port numbers
    {"getsockopt", kAllow},   // buffers
    {"setsockopt", kAllow},   // buffers
    {"sendto", kAllow},       // netlink
    {"sendmsg", kAllow},      // netlink, and answers to the server
    {"recvfrom", kAllow},     // netlink
    {"recvmsg", kAllow},      // netlink, and requests of the server
    {"poll", kAllow},         // waits for requests
    {"ppoll", kAllow},        // waits for requests
    {"select", kAllow},       // libnftables, for netlink
    {"pselect6", kAllow},     // libnftables, for netlink

    // Namespaces of guests; which kinds, the capabilities say.
    {"setns", kAllow},  // enters and leaves a guest's network

    // Calls that are allowed with some arguments only.
    {"socket", kAllow, {equals(0, AF_NETLINK)}},     // interfaces, addresses, rules
    {"socket", kAllow, {equals(0, AF_UNIX)}},        // the bridge's lock
    {"socket", kAllow, {equals(0, AF_INET)}},        // raises loopback: the kernel takes that at any socket
    {"unshare", kAllow, {equals(0, CLONE_NEWNET)}},  // a guest's network namespace
};

}  // namespace

Result<> install_helper_filter() {
  return TRY(seccomp::compile("the network helper", seccomp::refuse(EPERM), {kAllowed})).confine_thread();
}

}  // namespace lambdo::net
