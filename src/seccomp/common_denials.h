#pragma once

#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "seccomp/filter.h"

/// Tables that filters which allow by default share: the server's and the sandboxes'. What only one of them
/// denies stands beside it.
namespace lambdo::seccomp {

/// Calls that neither a server nor a program in a sandbox has any need of.
inline constexpr Rule kNeverNeeded[] = {
    // Mounts and namespaces.
    {"unshare", refuse(EPERM)},        // new namespaces
    {"setns", refuse(EPERM)},          // other processes' namespaces
    {"mount", refuse(EPERM)},          // the old way to mount
    {"umount2", refuse(EPERM)},        // shows what a mount hides
    {"pivot_root", refuse(EPERM)},     // another root
    {"chroot", refuse(EPERM)},         // another root
    {"fsopen", refuse(EPERM)},         // the new way to mount: makes a file system
    {"fsmount", refuse(EPERM)},        // the new way to mount: makes a mount
    {"fsconfig", refuse(EPERM)},       // the new way to mount: sets options
    {"fspick", refuse(EPERM)},         // the new way to mount: changes a mount
    {"move_mount", refuse(EPERM)},     // the new way to mount: attaches it
    {"open_tree", refuse(EPERM)},      // copies of mounts
    {"mount_setattr", refuse(EPERM)},  // makes read-only mounts writable

    // Other processes' memory and descriptors.
    {"process_vm_readv", refuse(EPERM)},   // reads another's memory
    {"process_vm_writev", refuse(EPERM)},  // writes another's memory
    {"process_madvise", refuse(EPERM)},    // pushes another's memory out
    {"pidfd_getfd", refuse(EPERM)},        // takes another's descriptors
    {"kcmp", refuse(EPERM)},               // tells kernel pointers apart
    {"migrate_pages", refuse(EPERM)},      // moves another's memory between nodes
    {"move_pages", refuse(EPERM)},         // moves another's memory between nodes, page by page

    // Large attack surface that programs here have no need of.
    {"bpf", refuse(EPERM)},                // programs in the kernel
    {"add_key", refuse(EPERM)},            // the kernel's key rings
    {"request_key", refuse(EPERM)},        // the kernel's key rings
    {"keyctl", refuse(EPERM)},             // the kernel's key rings
    {"userfaultfd", refuse(EPERM)},        // stops the kernel within its own accesses
    {"perf_event_open", refuse(EPERM)},    // the processor's counters and the kernel's probes
    {"fanotify_init", refuse(EPERM)},      // watches whole file systems
    {"fanotify_mark", refuse(EPERM)},      // watches whole file systems
    {"vmsplice", refuse(EPERM)},           // lends pages to pipes
    {"modify_ldt", refuse(EPERM)},         // 16-bit segments
    {"name_to_handle_at", refuse(EPERM)},  // names files without their folders
    {"open_by_handle_at", refuse(EPERM)},  // opens files past their folders
    {"lookup_dcookie", refuse(EPERM)},     // names of the kernel's profiler

    // The machine.
    {"kexec_load", refuse(EPERM)},                             // another kernel
    {"kexec_file_load", refuse(EPERM)},                        // another kernel
    {"init_module", refuse(EPERM)},                            // kernel modules
    {"finit_module", refuse(EPERM)},                           // kernel modules
    {"delete_module", refuse(EPERM)},                          // kernel modules
    {"reboot", refuse(EPERM)},                                 // ends the machine
    {"swapon", refuse(EPERM)},                                 // swap files
    {"swapoff", refuse(EPERM)},                                // swap files
    {"acct", refuse(EPERM)},                                   // process accounting
    {"quotactl", refuse(EPERM)},                               // disk quotas
    {"quotactl_fd", refuse(EPERM)},                            // disk quotas
    {"syslog", refuse(EPERM)},                                 // the kernel's log
    {"settimeofday", refuse(EPERM)},                           // the machine's clock
    {"clock_settime", refuse(EPERM)},                          // the machine's clock
    {"clock_adjtime", refuse(EPERM)},                          // the machine's clock
    {"adjtimex", refuse(EPERM)},                               // the machine's clock
    {"iopl", refuse(EPERM)},                                   // the processor's ports
    {"ioperm", refuse(EPERM)},                                 // the processor's ports
    {"vhangup", refuse(EPERM)},                                // hangs up the terminal
    {"ioctl", refuse(EPERM), {equals_32_bits(1, TIOCSTI)}},    // types into the terminal
    {"ioctl", refuse(EPERM), {equals_32_bits(1, TIOCLINUX)}},  // types into a console
};

constexpr Rule refused_family(Condition family) {
  return {"socket", refuse(EAFNOSUPPORT), {family}};
}

/// Sockets are AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK, pairs of sockets AF_UNIX; others fail with
/// EAFNOSUPPORT, as in a kernel without them. Families are compared with all 64 bits: garbage above the 32
/// that the kernel reads is more than the largest allowed one.
inline constexpr std::array kRefusedSocketFamilies = {
    refused_family(equals(0, AF_UNSPEC)),     // nothing that could be opened
    refused_family(equals(0, AF_AX25)),       // amateur radio
    refused_family(equals(0, AF_IPX)),        // Novell's networks
    refused_family(equals(0, AF_APPLETALK)),  // Apple's old networks
    refused_family(equals(0, AF_NETROM)),     // amateur radio
    refused_family(equals(0, AF_BRIDGE)),     // ioctls of bridges
    refused_family(equals(0, AF_ATMPVC)),     // ATM
    refused_family(equals(0, AF_X25)),        // X.25
    refused_family(equals(0, AF_ROSE)),       // amateur radio
    refused_family(equals(0, AF_DECnet)),     // DECnet
    refused_family(equals(0, AF_NETBEUI)),    // reserved
    refused_family(equals(0, AF_SECURITY)),   // reserved
    refused_family(equals(0, AF_KEY)),        // IPsec's keys
    refused_family(exceeds(0, AF_NETLINK)),   // packets, vsock, the kernel's crypto, ...
    Rule{"socketpair", refuse(EAFNOSUPPORT), {differs(0, AF_UNIX)}},  // the kernel makes two sockets first
};

}  // namespace lambdo::seccomp
