#include "net/helper_filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

namespace lambdo::net {

namespace {

constexpr std::array kAllowed = {
    // Memory, time, signals, itself.
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "getrandom",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "restart_syscall",
    "sigaltstack",
    "futex",
    "rseq",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "tgkill",
    "sched_yield",
    "sched_getaffinity",
    "prlimit64",
    "uname",
    "exit",
    "exit_group",
    // Files: the journal, /proc/sys, /sys, /dev/net/tun, what libnftables reads of names.
    "open",
    "openat",
    "close",
    "read",
    "pread64",
    "readv",
    "write",
    "writev",
    "lseek",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents64",
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "ftruncate",
    "fallocate",
    "flock",
    "fcntl",
    "dup",
    "dup3",
    "ioctl",
    // Netlink and the server.
    "bind",
    "listen",
    "connect",
    "getsockname",
    "getsockopt",
    "setsockopt",
    "sendto",
    "sendmsg",
    "recvfrom",
    "recvmsg",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    // Namespaces of guests; which kinds, the capabilities and the arguments below say.
    "setns",
};

int allow(scmp_filter_ctx context) {
  for (const char* name : kAllowed) {
    const int number = seccomp_syscall_resolve_name(name);
    // Negative: this architecture or library does not have it.
    if (number < 0) continue;
    if (const int result = seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0); result < 0) return result;
  }
  // AF_INET: the kernel takes requests about loopback interfaces at any socket.
  for (const uint64_t family : {AF_NETLINK, AF_UNIX, AF_INET}) {
    const scmp_arg_cmp same{0, SCMP_CMP_EQ, family, 0};
    if (const int result = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, same); result < 0) {
      return result;
    }
  }
  const scmp_arg_cmp network{0, SCMP_CMP_EQ, CLONE_NEWNET, 0};
  return seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(unshare), 1, network);
}

}  // namespace

Result<> install_helper_filter() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                 seccomp_release);
  if (!context) return fail(Code::resource_exhausted, "seccomp_init: out of memory");
  int result = seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  if (result == 0) result = allow(context.get());
  if (result == 0) result = seccomp_load(context.get());
  if (result < 0) return fail_errno(-result, "seccomp filter of the network helper");
  return {};
}

}  // namespace lambdo::net
