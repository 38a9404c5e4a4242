#include "server/server_filter.h"

#include <sched.h>

#include <cerrno>
#include <span>

#include "seccomp/common_denials.h"
#include "seccomp/filter.h"

namespace lambdo::server {

using seccomp::masked;
using seccomp::refuse;
using seccomp::Rule;

namespace {

// LeakSanitizer stops the process from a child, ThreadSanitizer starts a program to name its addresses.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kMayStartProcesses = true;
#else
constexpr bool kMayStartProcesses = false;
#endif

// gRPC, libc and the allocator change what they call with every update, so this lists what is denied. Guests
// need of this process: threads, memory (mmap, madvise, memfd_create), /dev/kvm and its ioctls, eventfd,
// sockets in pairs, signals to threads. Beside what nobody needs (seccomp/common_denials.h): mounts and
// namespaces are the launcher's business, and the guests of the namespace engine are other processes.
constexpr Rule kDenied[] = {
    // Other users and more rights. A server that runs as root has dropped its capabilities by now.
    {"setuid", refuse(EPERM)},     // another user
    {"setgid", refuse(EPERM)},     // another group
    {"setreuid", refuse(EPERM)},   // another user
    {"setregid", refuse(EPERM)},   // another group
    {"setresuid", refuse(EPERM)},  // another user
    {"setresgid", refuse(EPERM)},  // another group
    {"setgroups", refuse(EPERM)},  // other groups
    {"setfsuid", refuse(EPERM)},   // another user, for files
    {"setfsgid", refuse(EPERM)},   // another group, for files
    {"capset", refuse(EPERM)},     // capabilities

    // A new ring would have no restrictions (reactor/restrictions.h), and no filter sees operations inside a
    // ring.
    {"io_uring_setup", refuse(EPERM)},  // a new ring

    // Large parts of the kernel that nothing here uses.
    {"personality", refuse(EPERM)},       // other execution domains
    {"uselib", refuse(EPERM)},            // libraries of the a.out format
    {"ustat", refuse(EPERM)},             // superseded by statfs
    {"sysfs", refuse(EPERM)},             // superseded by /proc/filesystems
    {"nfsservctl", refuse(EPERM)},        // removed from Linux
    {"remap_file_pages", refuse(EPERM)},  // superseded by mmap

    // The machine.
    {"sethostname", refuse(EPERM)},    // the machine's name
    {"setdomainname", refuse(EPERM)},  // the machine's name
};

// Becoming another program or process: what code that took this one over would want first.
constexpr Rule kDeniedProcesses[] = {
    {"execve", refuse(EPERM)},    // another program
    {"execveat", refuse(EPERM)},  // another program
    {"fork", refuse(EPERM)},      // another process
    {"vfork", refuse(EPERM)},     // another process
    {"ptrace", refuse(EPERM)},    // another process's place
    {"clone3", refuse(ENOSYS)},   // no filter can look at its flags in memory: libc takes clone
    {"clone", refuse(EPERM), {masked(0, CLONE_THREAD, 0)}},  // threads only
};

}  // namespace

Result<> install_server_filter() {
  std::span<const Rule> processes = kDeniedProcesses;
  if (kMayStartProcesses) processes = {};
  // Binary lookup: this is the busiest process. Netlink is among the families that stay: resolvers ask it for
  // the machine's addresses.
  return TRY(seccomp::compile("the server", seccomp::kAllow,
                              {seccomp::kNeverNeeded, kDenied, processes, seccomp::kRefusedSocketFamilies},
                              seccomp::Lookup::binary))
      .confine_process();
}

}  // namespace lambdo::server
