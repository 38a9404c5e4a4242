#include "kvm/vcpu_filter.h"

#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "base/syscalls.h"

namespace lambdo::kvm {

namespace {

constexpr std::array kAllowed = {
    // Descriptors: those of a VM are made by ioctl, the eventfds of its devices by eventfd2. write rings an
    // eventfd and takes log lines.
    "close", "eventfd2", "write", "writev", "fstat",
    // Guest memory and the heap's.
    "munmap", "madvise", "mremap", "brk",
    // Locks and waiting.
    "futex", "sched_yield", "clock_nanosleep", "restart_syscall", "clock_gettime", "gettimeofday",
    // Being a thread; tgkill kicks the others.
    "set_robust_list", "rseq", "rt_sigprocmask", "rt_sigreturn", "gettid", "getpid", "tgkill", "getpriority",
    "setpriority", "sched_getaffinity", "exit", "exit_group",
    // The heap asks once for a random number.
    "getrandom"};

class Rules {
 public:
  explicit Rules(scmp_filter_ctx context) : context_(context) {}

  template <typename... Compare>
  void add(uint32_t action, int system_call, Compare... compare) {
    const std::array<scmp_arg_cmp, sizeof...(compare)> comparisons = {compare...};
    note(seccomp_rule_add_array(context_, action, system_call, comparisons.size(), comparisons.data()));
  }
  template <typename... Compare>
  void allow(int system_call, Compare... compare) {
    add(SCMP_ACT_ALLOW, system_call, compare...);
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

void add_rules(Rules& rules) {
  // Calls of the 32-bit and x32 kind have other numbers, past every rule.
  rules.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
  for (const char* name : kAllowed) rules.allow(seccomp_syscall_resolve_name(name));
  // The kernel takes an ioctl's request as 32 bits, whatever stands above them.
  rules.allow(SCMP_SYS(ioctl), scmp_arg_cmp{1, SCMP_CMP_MASKED_EQ, 0xff00, KVMIO << 8});
  // Memory with code in it is for nobody here.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    rules.allow(call, scmp_arg_cmp{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0});
  }
  // Threads only. clone3 has its flags in memory, where no filter can look: libc then takes clone.
  rules.allow(SCMP_SYS(clone), scmp_arg_cmp{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD});
  rules.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  for (const uint64_t option : {PR_SET_NAME, PR_SET_VMA}) {
    rules.allow(SCMP_SYS(prctl), scmp_arg_cmp{0, SCMP_CMP_EQ, option, 0});
  }
}

}  // namespace

Result<VcpuFilter> VcpuFilter::create() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                 seccomp_release);
  if (!context) return fail(Code::resource_exhausted, "seccomp_init: out of memory");
  Rules rules(context.get());
  add_rules(rules);
  if (rules.first_error() != 0) return fail_errno(rules.first_error(), "seccomp filter of vCPU threads");
  const Fd file = TRY(sys::memfd("seccomp"));
  if (const int result = seccomp_export_bpf(context.get(), file.get()); result < 0) {
    return fail_errno(-result, "seccomp_export_bpf");
  }
  VcpuFilter filter;
  filter.program_.resize(static_cast<size_t>(::lseek(file.get(), 0, SEEK_END)) / sizeof(sock_filter));
  const size_t len_bytes = filter.program_.size() * sizeof(sock_filter);
  if (::pread(file.get(), filter.program_.data(), len_bytes, 0) != static_cast<ssize_t>(len_bytes)) {
    return fail_errno("reading the seccomp program");
  }
  return filter;
}

Result<> VcpuFilter::confine_thread() const {
  const sock_fprog program = {static_cast<unsigned short>(program_.size()),
                              const_cast<sock_filter*>(program_.data())};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("PR_SET_NO_NEW_PRIVS");
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return fail_errno("seccomp");
  return {};
}

}  // namespace lambdo::kvm
