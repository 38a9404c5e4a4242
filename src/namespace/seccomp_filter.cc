#include "namespace/seccomp_filter.h"

#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>

#include "base/syscalls.h"

namespace lambdo::namespaces {

namespace {

struct Denied {
  const char* name;
  int answer_errno;
};

constexpr Denied kDenied[] = {
    // Mounts and namespaces. clone3 passes its flags through memory, where no filter can look: without it
    // libc
    // falls back to clone.
    {"clone3", ENOSYS},
    {"unshare", EPERM},
    {"setns", EPERM},
    {"mount", EPERM},
    {"umount2", EPERM},
    {"pivot_root", EPERM},
    {"chroot", EPERM},
    {"fsopen", EPERM},
    {"fsmount", EPERM},
    {"fsconfig", EPERM},
    {"fspick", EPERM},
    {"move_mount", EPERM},
    {"open_tree", EPERM},
    {"mount_setattr", EPERM},
    // Other processes' memory and descriptors.
    {"ptrace", EPERM},
    {"process_vm_readv", EPERM},
    {"process_vm_writev", EPERM},
    {"process_madvise", EPERM},
    {"pidfd_getfd", EPERM},
    {"kcmp", EPERM},
    {"migrate_pages", EPERM},
    {"move_pages", EPERM},
    // Large attack surface that programs here have no need of.
    {"bpf", EPERM},
    {"add_key", EPERM},
    {"request_key", EPERM},
    {"keyctl", EPERM},
    {"userfaultfd", EPERM},
    {"io_uring_setup", ENOSYS},
    {"io_uring_enter", ENOSYS},
    {"io_uring_register", ENOSYS},
    {"perf_event_open", EPERM},
    {"fanotify_init", EPERM},
    {"fanotify_mark", EPERM},
    {"vmsplice", EPERM},
    {"modify_ldt", EPERM},
    {"name_to_handle_at", EPERM},
    {"open_by_handle_at", EPERM},
    {"lookup_dcookie", EPERM},
    // The machine.
    {"kexec_load", EPERM},
    {"kexec_file_load", EPERM},
    {"init_module", EPERM},
    {"finit_module", EPERM},
    {"delete_module", EPERM},
    {"reboot", EPERM},
    {"swapon", EPERM},
    {"swapoff", EPERM},
    {"acct", EPERM},
    {"quotactl", EPERM},
    {"quotactl_fd", EPERM},
    {"syslog", EPERM},
    {"settimeofday", EPERM},
    {"clock_settime", EPERM},
    {"clock_adjtime", EPERM},
    {"adjtimex", EPERM},
    {"iopl", EPERM},
    {"ioperm", EPERM},
    {"nfsservctl", ENOSYS},
    {"vhangup", EPERM},
    {"sysfs", ENOSYS},
    {"uselib", ENOSYS},
    {"ustat", ENOSYS},
};

// Newer than libseccomp 2.5's names: by number, the same on every architecture since Linux 5.1.
constexpr int kOpenTreeAttr = 467;

class Filter {
 public:
  explicit Filter(scmp_filter_ctx context) : context_(context) {}

  void deny(int system_call, int answer_errno) {
    note(seccomp_rule_add_array(context_, SCMP_ACT_ERRNO(static_cast<uint16_t>(answer_errno)), system_call, 0,
                                nullptr));
  }
  template <typename... Compare>
  void deny_where(int system_call, int answer_errno, Compare... compare) {
    const std::array<scmp_arg_cmp, sizeof...(compare)> comparisons = {compare...};
    note(seccomp_rule_add_array(context_, SCMP_ACT_ERRNO(static_cast<uint16_t>(answer_errno)), system_call,
                                comparisons.size(), comparisons.data()));
  }
  void set(scmp_filter_attr attribute, uint32_t value) { note(seccomp_attr_set(context_, attribute, value)); }
  [[nodiscard]] int first_error() const { return error_; }

 private:
  void note(int result) {
    if (result < 0 && error_ == 0) error_ = -result;
  }

  scmp_filter_ctx context_;
  int error_ = 0;
};

constexpr scmp_arg_cmp equals(unsigned argument, uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
/// (argument & mask) == value, for arguments of which the kernel reads only the lower 32 bits.
constexpr scmp_arg_cmp masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void deny_namespace_flags(Filter& filter) {
  for (const uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER,
                              CLONE_NEWPID, CLONE_NEWNET}) {
    filter.deny_where(SCMP_SYS(clone), EPERM, masked(0, flag, flag));
  }
}

/// Families are compared with all 64 bits: garbage above the 32 that the kernel reads is more than the
/// largest allowed one.
void deny_socket_families(Filter& filter) {
  for (uint64_t family = 0; family < AF_NETLINK; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
    filter.deny_where(SCMP_SYS(socket), EAFNOSUPPORT, equals(0, family));
  }
  filter.deny_where(SCMP_SYS(socket), EAFNOSUPPORT, scmp_arg_cmp{0, SCMP_CMP_GT, AF_NETLINK, 0});
  // It makes two sockets of the family before the family can refuse. Only Unix sockets come in pairs.
  filter.deny_where(SCMP_SYS(socketpair), EAFNOSUPPORT, scmp_arg_cmp{0, SCMP_CMP_NE, AF_UNIX, 0});
  // getifaddrs and getaddrinfo ask routing netlink.
  filter.deny_where(SCMP_SYS(socket), EPROTONOSUPPORT, equals(0, AF_NETLINK),
                    scmp_arg_cmp{2, SCMP_CMP_NE, NETLINK_ROUTE, 0});
}

/// Personalities may be 0 (the usual) or ~0 (only ask). Any other number has, going round its bits, a set one
/// followed by a clear one; a rule cannot compare one argument with two values.
void deny_personalities(Filter& filter) {
  for (unsigned bit = 0; bit < 32; ++bit) {
    const uint64_t set = uint64_t{1} << bit;
    const uint64_t clear = uint64_t{1} << ((bit + 1) % 32);
    filter.deny_where(SCMP_SYS(personality), EPERM, masked(0, set | clear, set));
  }
}

}  // namespace

Result<Fd> compile_seccomp_filter() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(SCMP_ACT_ALLOW),
                                                                 seccomp_release);
  if (!context) return fail(Code::resource_exhausted, "seccomp_init: out of memory");
  Filter filter(context.get());
  filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  for (const Denied& denied : kDenied) {
    const int number = seccomp_syscall_resolve_name(denied.name);
    // Negative: this architecture or library does not have it.
    if (number >= 0) filter.deny(number, denied.answer_errno);
  }
  filter.deny(kOpenTreeAttr, EPERM);
  deny_namespace_flags(filter);
  deny_socket_families(filter);
  deny_personalities(filter);
  constexpr uint64_t kIoctlMask = 0xffffffff;
  filter.deny_where(SCMP_SYS(ioctl), EPERM, masked(1, kIoctlMask, TIOCSTI));
  filter.deny_where(SCMP_SYS(ioctl), EPERM, masked(1, kIoctlMask, TIOCLINUX));
  // A binary search by number instead of a walk through all rules.
  filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (filter.first_error() != 0) return fail_errno(filter.first_error(), "seccomp filter");

  Fd program = TRY(sys::memfd("seccomp"));
  if (const int result = seccomp_export_bpf(context.get(), program.get()); result < 0) {
    return fail_errno(-result, "seccomp_export_bpf");
  }
  return program;
}

}  // namespace lambdo::namespaces
