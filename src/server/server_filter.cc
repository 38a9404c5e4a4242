#include "server/server_filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>

namespace lambdo::server {

namespace {

// LeakSanitizer stops the process from a child, ThreadSanitizer starts a program to name its addresses.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kMayStartProcesses = true;
#else
constexpr bool kMayStartProcesses = false;
#endif

// A list of what is denied, not of what is allowed: gRPC, libc and the allocator call what they like, and
// that changes with every update, but none of it is here. What guests need of this process is left alone:
// threads, memory (mmap, madvise, memfd_create), /dev/kvm and its ioctls, eventfd, sockets in pairs, signals
// to threads.

// Becoming another program or process: what code that took this one over would want first.
constexpr std::array kProcesses = {"execve", "execveat", "fork", "vfork", "ptrace"};

constexpr std::array kDenied = {
    // Other processes' memory and descriptors; the guests of the namespace engine are such.
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    "migrate_pages",
    "move_pages",
    // Mounts, namespaces and roots are the launcher's business.
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "fsopen",
    "fsmount",
    "fsconfig",
    "fspick",
    "move_mount",
    "open_tree",
    "mount_setattr",
    // Files past the rules of their folders.
    "name_to_handle_at",
    "open_by_handle_at",
    "fanotify_init",
    "fanotify_mark",
    "lookup_dcookie",
    // Other users and more rights. A server that runs as root has dropped its capabilities by now.
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "setfsuid",
    "setfsgid",
    "capset",
    // More rings: those there are, are restricted, and no filter sees what goes through one.
    "io_uring_setup",
    // Large parts of the kernel that nothing here uses.
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "add_key",
    "request_key",
    "keyctl",
    "modify_ldt",
    "vmsplice",
    "personality",
    "uselib",
    "ustat",
    "sysfs",
    "nfsservctl",
    "remap_file_pages",
    // The machine.
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "syslog",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "iopl",
    "ioperm",
    "vhangup",
    "sethostname",
    "setdomainname",
};

class Filter {
 public:
  explicit Filter(scmp_filter_ctx context) : context_(context) {}

  void deny(const char* name, int answer_errno = EPERM) {
    const int number = seccomp_syscall_resolve_name(name);
    // Negative: this architecture or library does not have it.
    if (number >= 0) deny_where(number, answer_errno);
  }
  template <typename... Compare>
  void deny_where(int system_call, int answer_errno, Compare... compare) {
    const std::array<scmp_arg_cmp, sizeof...(compare)> comparisons = {compare...};
    note(seccomp_rule_add_array(context_, SCMP_ACT_ERRNO(static_cast<uint16_t>(answer_errno)), system_call,
                                comparisons.size(), comparisons.data()));
  }
  void set(scmp_filter_attr attribute, uint32_t value) { note(seccomp_attr_set(context_, attribute, value)); }
  void load() { note(seccomp_load(context_)); }
  [[nodiscard]] int first_error() const { return error_; }

 private:
  void note(int result) {
    if (result < 0 && error_ == 0) error_ = -result;
  }

  scmp_filter_ctx context_;
  int error_ = 0;
};

void deny_new_processes(Filter& filter) {
  for (const char* name : kProcesses) filter.deny(name);
  // Threads only. clone3 has its flags in memory, where no filter can look: libc then takes clone.
  filter.deny("clone3", ENOSYS);
  filter.deny_where(SCMP_SYS(clone), EPERM, scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0});
}

/// Unix and Internet sockets, and netlink, which resolvers ask for the machine's addresses.
void deny_socket_families(Filter& filter) {
  for (uint64_t family = 0; family < AF_NETLINK; ++family) {
    if (family == AF_UNIX || family == AF_INET || family == AF_INET6) continue;
    filter.deny_where(SCMP_SYS(socket), EAFNOSUPPORT, scmp_arg_cmp{0, SCMP_CMP_EQ, family, 0});
  }
  filter.deny_where(SCMP_SYS(socket), EAFNOSUPPORT, scmp_arg_cmp{0, SCMP_CMP_GT, AF_NETLINK, 0});
  filter.deny_where(SCMP_SYS(socketpair), EAFNOSUPPORT, scmp_arg_cmp{0, SCMP_CMP_NE, AF_UNIX, 0});
}

}  // namespace

Result<> install_server_filter() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(SCMP_ACT_ALLOW),
                                                                 seccomp_release);
  if (!context) return fail(Code::resource_exhausted, "seccomp_init: out of memory");
  Filter filter(context.get());
  // Calls of the 32-bit and x32 kind have other numbers, past every rule.
  filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  filter.set(SCMP_FLTATR_CTL_TSYNC, 1);
  // A binary search by number instead of a walk through all rules: this is the busiest process.
  filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const char* name : kDenied) filter.deny(name);
  if (!kMayStartProcesses) deny_new_processes(filter);
  deny_socket_families(filter);
  // Typing into somebody's terminal.
  constexpr uint64_t kIoctlMask = 0xffffffff;
  for (const uint64_t request : {TIOCSTI, TIOCLINUX}) {
    filter.deny_where(SCMP_SYS(ioctl), EPERM, scmp_arg_cmp{1, SCMP_CMP_MASKED_EQ, kIoctlMask, request});
  }
  filter.load();
  if (filter.first_error() != 0) return fail_errno(filter.first_error(), "seccomp filter of the server");
  return {};
}

}  // namespace lambdo::server
