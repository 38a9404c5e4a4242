#include "seccomp/filter.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/syscalls.h"

namespace lambdo::seccomp {

namespace {

using Context = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

int add_rule(scmp_filter_ctx context, const Rule& rule) {
  const int number = rule.number >= 0 ? rule.number : seccomp_syscall_resolve_name(rule.call);
  // A name that libseccomp does not know at all is a mistake in the table, which would leave the call
  // allowed.
  if (number == __NR_SCMP_ERROR) return -EINVAL;
  // Any other negative number is a call that this architecture does not have.
  if (number < 0) return 0;
  std::array<scmp_arg_cmp, 2> comparisons{};
  unsigned count = 0;
  for (const auto& [argument, comparison, value, masked_value] : rule.conditions) {
    if (comparison == _SCMP_CMP_MIN) break;
    comparisons[count++] = {argument, comparison, value, masked_value};
  }
  return seccomp_rule_add_array(context, rule.verdict, number, count, comparisons.data());
}

using Tables = std::initializer_list<std::span<const Rule>>;

int fill(scmp_filter_ctx context, Tables tables, Lookup lookup) {
  int result = seccomp_attr_set(context, SCMP_FLTATR_ACT_BADARCH, refuse(ENOSYS));
  if (result == 0 && lookup == Lookup::binary) {
    constexpr uint32_t kBinaryTree = 2;
    result = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, kBinaryTree);
  }
  for (const std::span<const Rule> rules : tables) {
    for (const Rule& rule : rules) {
      if (result < 0) return result;
      result = add_rule(context, rule);
    }
  }
  return result;
}

/// libseccomp gives a program only through a descriptor.
Result<std::vector<sock_filter>> export_instructions(scmp_filter_ctx context) {
  const Fd file = TRY(sys::memfd("seccomp"));
  if (const int result = seccomp_export_bpf(context, file.get()); result < 0) {
    return fail_errno(-result, "seccomp_export_bpf");
  }
  std::vector<sock_filter> instructions(static_cast<size_t>(::lseek(file.get(), 0, SEEK_END)) /
                                        sizeof(sock_filter));
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(instructions));
  if (::pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return fail_errno("reading the seccomp program");
  }
  return instructions;
}

}  // namespace

Result<Program> compile(const std::string& whose, Verdict otherwise, Tables tables, Lookup lookup) {
  const Context context(seccomp_init(otherwise), seccomp_release);
  if (!context) return fail(Code::resource_exhausted, "seccomp_init: out of memory");
  if (const int result = fill(context.get(), tables, lookup); result < 0) {
    return fail_errno(-result, "seccomp filter of " + whose);
  }
  return Program(TRY(export_instructions(context.get())));
}

Result<> Program::install(unsigned flags) const {
  const sock_fprog program = {static_cast<unsigned short>(instructions_.size()),
                              const_cast<sock_filter*>(instructions_.data())};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("PR_SET_NO_NEW_PRIVS");
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (result < 0) return fail_errno("seccomp");
  // With SECCOMP_FILTER_FLAG_TSYNC: the thread that has another filter, so that nothing was done.
  if (result > 0) return fail_errno(ECANCELED, "seccomp: thread " + std::to_string(result));
  return {};
}

Result<> Program::confine_thread() const {
  return install(0);
}

Result<> Program::confine_process() const {
  return install(SECCOMP_FILTER_FLAG_TSYNC);
}

Result<Fd> Program::to_memfd() const {
  Fd file = TRY(sys::memfd("seccomp"));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(instructions_));
  TRY(sys::write_all(file.get(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  return file;
}

}  // namespace lambdo::seccomp
