#include "namespace/seccomp_filter.h"

#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "seccomp/common_denials.h"
#include "seccomp/filter.h"

namespace lambdo::namespaces {

using seccomp::differs;
using seccomp::equals;
using seccomp::masked;
using seccomp::refuse;
using seccomp::Rule;

namespace {

// Newer than libseccomp 2.5's names: by number, the same on every architecture since Linux 5.1.
constexpr Rule kNoOpenTreeAttr = {.call = "open_tree_attr", .verdict = refuse(EPERM), .number = 467};

/// Beside what nobody needs (seccomp/common_denials.h).
constexpr Rule kDenied[] = {
    // Mounts, namespaces, other processes.
    {"clone3", refuse(ENOSYS)},  // no filter can look at its flags in memory: libc falls back to clone
    kNoOpenTreeAttr,             // copies of mounts with other attributes
    {"ptrace", refuse(EPERM)},   // debugging, and a large attack surface

    // Large attack surface that programs here have no need of; they go on without it.
    {"io_uring_setup", refuse(ENOSYS)},     // a ring's operations pass no filter
    {"io_uring_enter", refuse(ENOSYS)},     // a ring's operations pass no filter
    {"io_uring_register", refuse(ENOSYS)},  // a ring's operations pass no filter
    {"nfsservctl", refuse(ENOSYS)},         // removed from Linux
    {"sysfs", refuse(ENOSYS)},              // superseded by /proc/filesystems
    {"uselib", refuse(ENOSYS)},             // libraries of the a.out format
    {"ustat", refuse(ENOSYS)},              // superseded by statfs

    // Calls that are denied with some arguments only.
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWNS, CLONE_NEWNS)}},          // a child in a mount namespace
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWCGROUP, CLONE_NEWCGROUP)}},  // in a cgroup namespace
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWUTS, CLONE_NEWUTS)}},        // with a host name
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWIPC, CLONE_NEWIPC)}},        // in an IPC namespace
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWUSER, CLONE_NEWUSER)}},  // with all rights over a namespace
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWPID, CLONE_NEWPID)}},    // in a pid namespace
    {"clone", refuse(EPERM), {masked(0, CLONE_NEWNET, CLONE_NEWNET)}},    // in a network namespace
    // getifaddrs and getaddrinfo ask routing netlink; no other netlink is needed.
    {"socket", refuse(EPROTONOSUPPORT), {equals(0, AF_NETLINK), differs(2, NETLINK_ROUTE)}},
};

/// Personalities may be 0 (the usual) or ~0 (only ask). Any other number has, going round its bits, a set one
/// followed by a clear one; a rule cannot compare one argument with two values.
constexpr auto kDeniedPersonalities = [] {
  constexpr unsigned kBits = 32;
  std::array<Rule, kBits> rules{};
  for (unsigned bit = 0; bit < kBits; ++bit) {
    const uint64_t set = uint64_t{1} << bit;
    const uint64_t clear = uint64_t{1} << ((bit + 1) % kBits);
    rules[bit] = {"personality", refuse(EPERM), {masked(0, set | clear, set)}};
  }
  return rules;
}();

}  // namespace

Result<Fd> compile_seccomp_filter() {
  const seccomp::Program program = TRY(seccomp::compile(
      "sandboxes", seccomp::kAllow,
      {seccomp::kNeverNeeded, kDenied, seccomp::kRefusedSocketFamilies, kDeniedPersonalities},
      seccomp::Lookup::binary));
  return program.to_memfd();
}

}  // namespace lambdo::namespaces
