#pragma once

#include <linux/filter.h>
#include <seccomp.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

/// The one place that speaks to libseccomp. A filter is a table of rules that lies beside the code it
/// confines, one line a system call with the reason for it:
///
///   constexpr seccomp::Rule kRules[] = {
///       {"write", seccomp::kAllow},                                             // eventfds, log lines
///       {"socket", seccomp::kAllow, {seccomp::equals(0, AF_NETLINK)}},  // the kernel's routes
///       {"clone3", seccomp::refuse(ENOSYS)},                                    // libc takes clone then
///   };
///   return seccomp::compile("the helper", seccomp::refuse(EPERM), {kRules});
namespace lambdo::seccomp {

/// What the kernel does with a system call: an action of seccomp(2).
using Verdict = uint32_t;
constexpr Verdict kAllow = SCMP_ACT_ALLOW;
constexpr Verdict kKillProcess = SCMP_ACT_KILL_PROCESS;
/// The call is not made and fails with `os_errno`.
constexpr Verdict refuse(int os_errno) {
  return SCMP_ACT_ERRNO(static_cast<uint16_t>(os_errno));
}

/// Of a rule: it holds only for calls of which argument number `argument` (from 0) compares so. The kernel
/// gives a filter all 64 bits of an argument, also where the call itself reads 32.
struct Condition {
  unsigned argument = 0;
  scmp_compare comparison = _SCMP_CMP_MIN;  ///< _SCMP_CMP_MIN: no condition
  uint64_t value = 0;                       ///< SCMP_CMP_MASKED_EQ: the mask
  uint64_t masked = 0;  ///< SCMP_CMP_MASKED_EQ: what the argument's bits under the mask are
};
constexpr Condition equals(unsigned argument, uint64_t value) {
  return {argument, SCMP_CMP_EQ, value};
}
constexpr Condition differs(unsigned argument, uint64_t value) {
  return {argument, SCMP_CMP_NE, value};
}
constexpr Condition exceeds(unsigned argument, uint64_t value) {
  return {argument, SCMP_CMP_GT, value};
}
/// (argument & mask) == value.
constexpr Condition masked(unsigned argument, uint64_t mask, uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}
/// For arguments of which the kernel reads only the lower 32 bits, such as the request of ioctl(2).
constexpr Condition equals_32_bits(unsigned argument, uint32_t value) {
  return masked(argument, 0xffff'ffff, value);
}

/// What happens to one system call: either one rule without conditions, or several with conditions, each of
/// which applies on its own.
struct Rule {
  const char* call = nullptr;
  Verdict verdict = kAllow;
  std::array<Condition, 2> conditions{};  ///< those that there are all hold
  int number = -1;  ///< the call's number where libseccomp lacks the name; -1: `call` is looked up
};

/// A compiled filter: a program of classic BPF.
class Program {
 public:
  explicit Program(std::vector<sock_filter> instructions) : instructions_(std::move(instructions)) {}

  [[nodiscard]] std::span<const sock_filter> instructions() const { return instructions_; }
  /// Puts the filter on the calling thread, and on those that it starts from then on, for good; sets
  /// no_new_privs. Errors: the kernel has no seccomp, or refuses.
  [[nodiscard]] Result<> confine_thread() const;
  /// The same for all threads of the process. All of them have it, or an error says that none has.
  [[nodiscard]] Result<> confine_process() const;
  /// In a memfd whose position is at its end: the form that `bwrap --seccomp` takes once it is opened anew.
  [[nodiscard]] Result<Fd> to_memfd() const;

 private:
  [[nodiscard]] Result<> install(unsigned flags) const;

  std::vector<sock_filter> instructions_;
};

enum class Lookup {
  linear,  ///< the kernel walks through the rules: short programs
  binary,  ///< it searches by number: long lists in busy processes
};

/// Compiles a filter. `otherwise` is for calls that no rule is about. Calls of other ABIs (i386, x32) have
/// other numbers, past every rule, and fail with ENOSYS. A call that this architecture does not have is
/// passed over; a name that libseccomp does not know is an error (invalid_argument or the like of EINVAL).
/// `whose` is for errors: "vCPU threads".
Result<Program> compile(const std::string& whose, Verdict otherwise,
                        std::initializer_list<std::span<const Rule>> tables, Lookup lookup = Lookup::linear);

}  // namespace lambdo::seccomp
